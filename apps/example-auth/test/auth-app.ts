import { randomBytes, randomUUID } from 'node:crypto'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { createApp, silentLogger } from '@quintet/core'
import { openAppDatabase, type AppDatabase } from '@quintet/example-platform/testing'
import { createQueue, type Queue } from '@quintet/queue'
import { createRedisClients, type RedisClients } from '@quintet/redis'
import { postgresUrl, startPrivateRedis, until } from '@quintet/test-kit'
import { vi } from 'vitest'

export const password = 'correct horse battery'

export interface Person {
  readonly id: string
  readonly tenantId: string
  readonly tenant: string
  readonly email: string
  readonly accessToken: string
  readonly refreshToken: string
}

/** The auth app, with a folder for its mail. */
export interface AuthApp extends AsyncDisposable {
  readonly url: string
  readonly database: AppDatabase
  readonly redis: RedisClients
  /** Of `operator@platform.example` in the tenant `platform`. */
  readonly operatorPassword: string
  /** The queue that the other apps read. */
  readonly jobs: Queue
  post(path: string, body: unknown, token?: string): Promise<Response>
  /** The answer of a procedure, with its status. */
  rpc(name: string, input: unknown, by?: Person): Promise<[number, Record<string, unknown>]>
  signUp(): Promise<Person>
  signIn(person: Pick<Person, 'tenant' | 'email'>, password?: string): Promise<Response>
  /** Invites somebody and accepts for them. */
  join(owner: Person, email: string, roles?: readonly string[]): Promise<Person>
  /** The mails to an address, oldest first. */
  mails(to: string): Promise<readonly string[]>
  /** The token of the newest mail to an address; undefined where there is none. */
  mailed(to: string, subject?: string): Promise<string | undefined>
}

export async function openAuth(options: { readonly mail?: boolean } = {}): Promise<AuthApp> {
  await using resources = new AsyncDisposableStack()
  const source = resolve(import.meta.dirname, '../src')
  const database = resources.use(await openAppDatabase(postgresUrl(), resolve(source, 'migrations')))
  const redis = resources.use(await startPrivateRedis())
  const directory = await mkdtemp(join(tmpdir(), 'quintet-mail-'))
  resources.defer(() => rm(directory, { recursive: true, force: true }))
  const secret = (): string => randomBytes(32).toString('base64url')
  const [jobsSecret, operatorPassword] = [secret(), secret()]
  const clients = resources.use(await createRedisClients({ url: redis.url }))
  const jobs = resources.use(createQueue({ connection: clients.client('queue'), secret: jobsSecret }))
  // The transports of a system start once in a process.
  vi.resetModules()
  const { default: system } = await import('../src/bootstrap.ts')
  const app = await createApp(system, {
    baseUrl: source,
    logger: silentLogger,
    ports: { http: 0 },
    env: {
      AUTH_DATABASE__URL: database.url,
      AUTH_DATABASE__SYSTEM_URL: database.systemUrl,
      AUTH_REDIS__URL: redis.url,
      AUTH_IDENTITY__ISSUER: 'https://auth.test.example',
      AUTH_IDENTITY__AUDIENCE: 'test',
      AUTH_SECRETS__ROOT: secret(),
      AUTH_SECRETS__CNF: secret(),
      AUTH_SECRETS__JOBS: jobsSecret,
      AUTH_SECRETS__OPERATOR: operatorPassword,
      ...(options.mail !== false && { AUTH_MAIL__DIRECTORY: directory }),
    },
  })
  resources.defer(() => app.stop())
  const url = app.transports.get('http')?.url ?? ''
  const post: AuthApp['post'] = (path, body, token) =>
    fetch(url + path, {
      method: 'POST',
      headers: {
        'content-type': 'application/json',
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
      body: JSON.stringify(body),
    })
  const mailsTo: AuthApp['mails'] = async (to) => {
    const files = await readdir(directory)
    const mails = await Promise.all(
      files
        .filter((file) => file.endsWith('.eml'))
        .toSorted()
        .map((file) => readFile(join(directory, file), 'utf8')),
    )
    return mails.filter((mail) => mail.startsWith(`To: ${to}\n`))
  }
  const mailed: AuthApp['mailed'] = async (to, subject = '') => {
    const mails = await mailsTo(to)
    return /: ([\w-]{43})$/m.exec(mails.findLast((mail) => mail.includes(subject)) ?? '')?.[1]
  }
  const toPerson = async (response: Response, tenant: string, email: string): Promise<Person> => {
    const body = (await response.json()) as Person & { user: { id: string; tenantId: string } }
    if (response.status !== 200) throw new Error(JSON.stringify(body))
    const { accessToken, refreshToken, user } = body
    return { ...user, tenant, email, accessToken, refreshToken }
  }
  const rpc: AuthApp['rpc'] = async (name, input, by) => {
    const response = await post(`/rpc/${name}`, input, by?.accessToken)
    return [response.status, (await response.json()) as Record<string, unknown>]
  }
  const owned = resources.move()
  return {
    url,
    database,
    redis: clients,
    operatorPassword,
    jobs,
    post,
    rpc,
    mails: mailsTo,
    mailed,
    async signUp() {
      const [tenant, email] = [`t-${randomUUID()}`, `ada-${randomUUID()}@example.com`]
      const answer = await post('/sign-up', { tenant, email, name: 'Ada', password })
      const person = await toPerson(answer, tenant, email)
      if (options.mail === false) return person
      await until(() => mailed(email, 'Your address'))
      await post('/email-verifications/complete', { token: await mailed(email, 'Your address') })
      return person
    },
    signIn: ({ tenant, email }, given = password) => post('/sign-in', { tenant, email, password: given }),
    async join(owner, email, roles = ['member']) {
      const [status, body] = await rpc('members/invite', { email, roles }, owner)
      if (status !== 200) throw new Error(JSON.stringify(body))
      const token = await mailed(email)
      return toPerson(
        await post('/invitations/accept', { token, name: 'Guest', password }),
        owner.tenant,
        email,
      )
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}
