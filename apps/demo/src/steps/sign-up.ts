import { randomUUID } from 'node:crypto'
import { createHttpClient, type Client } from '../client.ts'
import { expectStatus, expectThat, stringOf } from '../expect.ts'
import type { Stage } from '../stage.ts'
import type { StepRunner } from '../step.ts'

/** A person who is signed in. The tokens change as the scenario goes on. */
export interface Person {
  readonly name: string
  readonly tenant: string
  readonly email: string
  readonly password: string
  readonly userId: string
  readonly tenantId: string
  accessToken: string
  refreshToken: string
}

export interface Cast {
  readonly client: Client
  /** Of the first tenant. */
  readonly ada: Person
  /** A colleague of Ada's in the same tenant. */
  readonly alan: Person
  /** Of the second tenant. */
  readonly grace: Person
}

/** The password of everybody who signs up in the scenario; new for every run. */
const password = `correct horse ${randomUUID()}`

export async function signUpEverybody(stage: Stage, steps: StepRunner): Promise<Cast> {
  const client = createHttpClient(stage.gatewayUrl)
  const run = randomUUID().slice(0, 8)
  const people = await steps.step('sign up users in two tenants', async () => {
    const ada = await signUp(client, { name: 'Ada', tenant: `acme-${run}` })
    const alan = await invite(client, ada, 'Alan')
    const grace = await signUp(client, { name: 'Grace', tenant: `globex-${run}` })
    return { detail: `${ada.tenant}: Ada and Alan; ${grace.tenant}: Grace`, value: { ada, alan, grace } }
  })
  await steps.check('sign in with a password', async () => {
    await signIn(client, people.ada)
    const me = expectStatus(
      await client.rpc('auth', 'account.me', {}, { token: people.ada.accessToken }),
      200,
      'me',
    )
    return `Ada is ${stringOf(me, 'email')}`
  })
  await steps.check('a wrong password and an unknown user look the same', async () => {
    const { tenant, email } = people.ada
    const wrong = await client.post('/api/auth/sign-in', { tenant, email, password: 'not the password' })
    const unknown = await client.post('/api/auth/sign-in', {
      tenant,
      email: 'nobody@example.com',
      password,
    })
    const [first, second] = [
      expectStatus(wrong, 401, 'wrong password'),
      expectStatus(unknown, 401, 'unknown user'),
    ]
    expectThat(first['code'] === second['code'], 'the two answers can be told apart')
    return `401 ${String(first['code'])} for both`
  })
  return { client, ...people }
}

/** Signs a person in anew and gives them the new tokens. */
export async function signIn(client: Client, person: Person): Promise<void> {
  const { tenant, email } = person
  const body = expectStatus(
    await client.post('/api/auth/sign-in', { tenant, email, password: person.password }),
    200,
    'sign in',
  )
  person.accessToken = stringOf(body, 'accessToken')
  person.refreshToken = stringOf(body, 'refreshToken')
}

async function signUp(
  client: Client,
  who: { readonly name: string; readonly tenant: string },
): Promise<Person> {
  const email = `${who.name.toLowerCase()}@${who.tenant}.example`
  const body = expectStatus(
    await client.post('/api/auth/sign-up', { tenant: who.tenant, email, password, name: who.name }),
    200,
    `sign up ${who.name}`,
  )
  return toPerson(who.name, who.tenant, email, body)
}

async function invite(client: Client, inviter: Person, name: string): Promise<Person> {
  const email = `${name.toLowerCase()}@${inviter.tenant}.example`
  const invited = expectStatus(
    await client.rpc('auth', 'members.invite', { email }, { token: inviter.accessToken }),
    200,
    `invite ${name}`,
  )
  const invitation = { token: stringOf(invited, 'token'), name, password }
  const body = expectStatus(
    await client.post('/api/auth/invitations/accept', invitation),
    200,
    `accept the invitation of ${name}`,
  )
  return toPerson(name, inviter.tenant, email, body)
}

function toPerson(name: string, tenant: string, email: string, body: Record<string, unknown>): Person {
  const user = body['user'] as Record<string, unknown>
  return {
    name,
    tenant,
    email,
    password,
    userId: stringOf(user, 'id'),
    tenantId: stringOf(user, 'tenantId'),
    accessToken: stringOf(body, 'accessToken'),
    refreshToken: stringOf(body, 'refreshToken'),
  }
}
