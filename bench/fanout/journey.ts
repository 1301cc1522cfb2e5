import { randomUUID } from 'node:crypto'
import { until } from '@quintet/test-kit'
import { Client } from 'undici'

/** A user of a tenant, who comes from an address of their own. */
export interface User {
  readonly tenant: string
  readonly email: string
  readonly http: Client
  token: string
  /** An account with money in it, and one to send it to. */
  readonly accounts: readonly [string, string]
}

const password = `correct horse ${randomUUID()}`
/** What each journey asks beside signing in, one upload and its images. */
const lists = 8
const transfers = 4
/** How many events a journey leads to: its transfers, the stored object, the thumbnail. */
export const eventsPerJourney = transfers + 2

let nextAddress = 1

function connect(origin: string): Client {
  const local = nextAddress++
  return new Client(origin, { localAddress: `127.0.${local >> 8}.${local & 255}`, pipelining: 1 })
}

interface Asked {
  readonly method: 'GET' | 'POST'
  readonly path: string
  readonly body?: string | Uint8Array
  readonly contentType?: string
  readonly token?: string
}

async function ask(http: Client, { method, path, body, contentType, token }: Asked): Promise<Buffer> {
  const response = await http.request({
    method,
    path,
    headers: {
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
      ...(body !== undefined && { 'content-type': contentType ?? 'application/json' }),
    },
    ...(body !== undefined && { body }),
  })
  const bytes = Buffer.from(await response.body.arrayBuffer())
  if (response.statusCode < 300) return bytes
  throw new Error(`${method} ${path} was answered with ${response.statusCode}: ${bytes.toString()}`)
}

type Json = Record<string, unknown>

async function post(http: Client, path: string, input: unknown, token?: string): Promise<Json> {
  const body = JSON.stringify(input)
  const asked = { method: 'POST', path, body, ...(token !== undefined && { token }) } as const
  return JSON.parse((await ask(http, asked)).toString()) as Json
}

/** Signs up a tenant with so many users, each with money. */
export async function signUpTenant(origin: string, users: number): Promise<readonly User[]> {
  const tenant = `t-${randomUUID()}`
  const email = (index: number): string => `user${index}@example.com`
  const http = connect(origin)
  const owner = await post(http, '/api/auth/sign-up', {
    tenant,
    email: email(0),
    password,
    name: 'Owner',
  })
  const ownerToken = String(owner['accessToken'])
  const made: User[] = []
  for (let index = 0; index < users; index++) {
    if (index > 0) {
      const { token } = await post(http, '/api/auth/rpc/members/invite', { email: email(index) }, ownerToken)
      await post(http, '/api/auth/invitations/accept', { token, password, name: 'User' })
    }
    const client = connect(origin)
    const { accessToken, user } = await post(client, '/api/auth/sign-in', {
      tenant,
      email: email(index),
      password,
    })
    const ownerId = (user as Json)['id']
    const open = async (): Promise<string> =>
      String(
        (
          await post(
            http,
            '/api/ledger/rpc/ledger/openAccount',
            { currency: 'EUR', ownerId },
            String(accessToken),
          )
        )['id'],
      )
    const accounts = [await open(), await open()] as const
    const fund = { account: accounts[0], amount: '1000.00', idempotencyKey: randomUUID() }
    await post(http, '/api/ledger/rpc/ledger/fund', fund, ownerToken)
    made.push({ tenant, email: email(index), http: client, token: String(accessToken), accounts })
  }
  await http.close()
  return made
}

/** Signs in, lists, moves money, stores an image and gets it in another size. Tells how long each request took, in milliseconds. */
export async function journey(user: User, image: Uint8Array): Promise<readonly number[]> {
  const times: number[] = []
  const timed = async <T>(run: () => Promise<T>): Promise<T> => {
    const begin = performance.now()
    const result = await run()
    times.push(performance.now() - begin)
    return result
  }
  const { http, tenant, email, accounts } = user
  const signedIn = await timed(() => post(http, '/api/auth/sign-in', { tenant, email, password }))
  user.token = String(signedIn['accessToken'])
  const { token } = user
  for (let index = 0; index < lists; index++) {
    await timed(() => post(http, '/api/ledger/rpc/ledger/accounts', { limit: 50 }, token))
    await timed(() => post(http, '/api/media/rpc/objects/list', { limit: 20 }, token))
  }
  for (let index = 0; index < transfers; index++) {
    const [from, to] = accounts
    const transfer = { from, to, amount: '0.01', idempotencyKey: randomUUID() }
    await timed(() => post(http, '/api/ledger/rpc/ledger/transfer', transfer, token))
  }
  const path = '/api/media/objects?name=photo.jpg'
  const stored = await timed(() =>
    ask(http, { method: 'POST', path, body: image, contentType: 'image/jpeg', token }),
  )
  const { id } = JSON.parse(stored.toString()) as { id: string }
  for (let index = 0; index < 2; index++)
    await timed(() =>
      ask(http, { method: 'GET', path: `/api/media/render/image/${id}?width=320&format=webp`, token }),
    )
  return times
}

export type OperationName = 'accounts' | 'list' | 'transfer' | 'statement' | 'counts' | 'upload' | 'render'

/** What a signed-in user does, one request each. */
export function createOperations(
  { http, token, accounts }: User,
  image: Uint8Array,
): Readonly<Record<OperationName, () => Promise<unknown>>> {
  const rpc = (path: string, input: object): Promise<Json> => post(http, `/api/${path}`, input, token)
  const [from, to] = accounts
  const stored: string[] = []
  const upload = async (): Promise<void> => {
    const path = '/api/media/objects?name=photo.jpg'
    const answer = await ask(http, { method: 'POST', path, body: image, contentType: 'image/jpeg', token })
    stored.push((JSON.parse(answer.toString()) as { id: string }).id)
  }
  return {
    accounts: () => rpc('ledger/rpc/ledger/accounts', { limit: 50 }),
    list: () => rpc('media/rpc/objects/list', { limit: 20 }),
    transfer: () =>
      rpc('ledger/rpc/ledger/transfer', { from, to, amount: '0.01', idempotencyKey: randomUUID() }),
    statement: () => rpc('ledger/rpc/ledger/statement', { account: from, limit: 20 }),
    counts: () => rpc('analytics/rpc/stats/counts', {}),
    upload,
    async render() {
      if (stored.length === 0) return upload()
      const path = `/api/media/render/image/${stored.at(-1)}?width=320&format=webp`
      return ask(http, { method: 'GET', path, token })
    },
  }
}

/** How many events of the user's tenant have been counted. */
export async function countedEvents({ http, token }: User): Promise<number> {
  const { items } = await post(http, '/api/analytics/rpc/stats/counts', {}, token)
  return (items as { count: number }[]).reduce((sum, { count }) => sum + count, 0)
}

/** Resolves when so many events of the user's tenant have been counted. */
export async function settled(user: User, events: number): Promise<void> {
  await until(async () => (await countedEvents(user)) >= events, 60_000)
}
