import { randomBytes, randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { createApp, silentLogger } from '@quintet/core'
import { openAppDatabase, type AppDatabase } from '@quintet/example-platform/testing'
import { runWithRlsContext } from '@quintet/rls'
import { postgresUrl, redisUrl } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'

const source = resolve(import.meta.dirname, '../src')
const password = 'correct horse battery'

let database: AppDatabase
let app: RunningAuth

beforeAll(async () => {
  database = await openAppDatabase(postgresUrl(), resolve(source, 'migrations'))
  app = await start()
})

afterAll(async () => {
  await app[Symbol.asyncDispose]()
  await database[Symbol.asyncDispose]()
})

interface RunningAuth extends AsyncDisposable {
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>
}

const secretText = (): string => randomBytes(32).toString('base64url')
const secrets = { root: secretText(), cnf: secretText(), jobs: secretText(), operator: secretText() }

async function start(roots: Record<string, string> = {}): Promise<RunningAuth> {
  // The transports of a system start once in a process.
  vi.resetModules()
  const { default: auth } = await import('../src/bootstrap.ts')
  const running = await createApp(auth, {
    baseUrl: source,
    logger: silentLogger,
    ports: { http: 0 },
    env: {
      AUTH_DATABASE__URL: database.url,
      AUTH_DATABASE__SYSTEM_URL: database.systemUrl,
      AUTH_REDIS__URL: redisUrl(),
      AUTH_IDENTITY__ISSUER: 'https://auth.test.example',
      AUTH_IDENTITY__AUDIENCE: 'test',
      AUTH_SECRETS__ROOT: secrets.root,
      AUTH_SECRETS__CNF: secrets.cnf,
      AUTH_SECRETS__JOBS: secrets.jobs,
      AUTH_SECRETS__OPERATOR: secrets.operator,
      ...roots,
    },
  })
  const url = running.transports.get('http')?.url ?? ''
  return {
    post: (path, body, headers = {}) =>
      fetch(url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
      }),
    [Symbol.asyncDispose]: () => running.stop(),
  }
}

interface Account {
  readonly tenant: string
  readonly email: string
  readonly tokens: { readonly accessToken: string; readonly refreshToken: string }
  readonly user: { readonly id: string; readonly tenantId: string }
}

async function signUp(): Promise<Account> {
  const account = { tenant: `t-${randomUUID()}`, email: 'ada@example.com' }
  const response = await app.post('/sign-up', { ...account, name: 'Ada', password })
  expect(response.status).toBe(200)
  const { user, ...tokens } = (await response.json()) as Account & Account['tokens']
  return { ...account, user, tokens }
}

describe('signing in', () => {
  it('hands out tokens that no cache keeps', async () => {
    const { tenant, email, tokens } = await signUp()
    for (const response of [
      await app.post('/sign-in', { tenant, email, password }),
      await app.post('/refresh', { refreshToken: tokens.refreshToken }),
    ]) {
      expect([response.status, response.headers.get('cache-control')]).toEqual([200, 'no-store'])
    }
  })

  it('knows a device again when strangers have used up the attempts of the account', async () => {
    const { tenant, email } = await signUp()
    const first = await app.post('/sign-in', { tenant, email, password })
    const [cookie = ''] = first.headers.getSetCookie()
    expect(cookie).toMatch(/^__Host-device=[^;]+; Path=\/; Max-Age=\d+; Secure; HttpOnly; SameSite=Strict$/)
    const statuses = new Set<number>()
    for (let attempt = 0; attempt < 11; attempt++) {
      statuses.add((await app.post('/sign-in', { tenant, email, password: 'a guess' })).status)
    }
    expect([...statuses]).toEqual([401, 429])
    expect((await app.post('/sign-in', { tenant, email, password })).status).toBe(429)
    const device = { cookie: cookie.split(';')[0] ?? '' }
    expect((await app.post('/sign-in', { tenant, email, password }, device)).status).toBe(200)
  })

  it('goes on with sessions and tokens of a former root secret', async () => {
    const { tokens } = await signUp()
    const roots = { AUTH_SECRETS__ROOT: secretText(), AUTH_SECRETS__FORMER_ROOT: secrets.root }
    await using renewed = await start(roots)
    const authorization = { authorization: `Bearer ${tokens.accessToken}` }
    expect((await renewed.post('/rpc/account/me', {}, authorization)).status).toBe(200)
    expect((await renewed.post('/refresh', { refreshToken: tokens.refreshToken })).status).toBe(200)
  })
})

describe('signing up', () => {
  it.each([
    ['a zero-width space', 'A\u200Bda'],
    ['a right-to-left override', 'Ada \u202Eexe'],
    ['an isolate', '\u2066Ada\u2069'],
    ['a soft hyphen', 'A\u00ADda'],
    ['a Hangul filler', '\u3164'],
    ['a control character', 'Ada\u0007'],
    ['a line separator', 'Ada\u2028x'],
  ])('refuses a name with %s', async (_, name) => {
    const account = { tenant: `t-${randomUUID()}`, email: 'ada@example.com', password, name }
    const response = await app.post('/sign-up', account)
    expect(response.status).toBe(400)
    expect(await response.text()).toContain('invisible')
  })

  it('gives no tenant a name of the platform', async () => {
    const account = { tenant: 'admin', email: 'ada@example.com', password, name: 'Ada' }
    expect((await app.post('/sign-up', account)).status).toBe(400)
  })

  it('refuses a password that is known from breaches', async () => {
    const account = { tenant: `t-${randomUUID()}`, email: 'ada@example.com', name: 'Ada' }
    for (const known of ['password1234', 'correct horse battery staple']) {
      const response = await app.post('/sign-up', { ...account, password: known })
      expect(await response.json()).toMatchObject({ status: 400, code: 'ERR_ACCOUNT_WEAK_PASSWORD' })
    }
    expect((await app.post('/sign-up', { ...account, password })).status).toBe(200)
  })

  it('refuses the address as password', async () => {
    const email = 'ada.lovelace@example.com'
    const account = { tenant: `t-${randomUUID()}`, email, password: email, name: 'Ada' }
    const response = await app.post('/sign-up', account)
    expect(await response.json()).toMatchObject({ status: 400, code: 'ERR_ACCOUNT_WEAK_PASSWORD' })
  })
})

describe('the operator', () => {
  it('is one of the platform, and nobody else is let through', async () => {
    const credentials = {
      tenant: 'platform',
      email: 'operator@platform.example',
      password: secrets.operator,
    }
    const signedIn = (await (await app.post('/sign-in', credentials)).json()) as Account['tokens']
    const { tokens } = await signUp()
    const settingsAs = async ({ accessToken }: Account['tokens']): Promise<number> =>
      (await app.post('/rpc/platform/settings', {}, { authorization: `Bearer ${accessToken}` })).status
    expect(await settingsAs(signedIn)).toBe(200)
    expect(await settingsAs(tokens)).toBe(403)
  })

  it('cannot be a user of another tenant, whatever the code writes', async () => {
    const { user } = await signUp()
    const give = (roles: string): Promise<unknown> =>
      database.systemPool.query('update users set roles = $1 where id = $2', [roles, user.id])
    await expect(give('{operator}')).rejects.toMatchObject({ constraint: 'operators_of_the_platform' })
    await expect(give('{root}')).rejects.toMatchObject({ constraint: 'known_roles' })
  })
})

describe("the tenants' login", () => {
  it.each([
    ['reads no password', 'select * from passwords'],
    ['changes no password', "update passwords set hash = 'x'"],
    ['gives no role', "update users set roles = '{owner}'"],
    ['adds no user', "insert into users (tenant_id, email, name, roles) values ($1, 'x', 'x', '{owner}')"],
  ])('%s', async (_, statement) => {
    const { user } = await signUp()
    const values = statement.includes('$1') ? [user.tenantId] : []
    const context = { tenantId: user.tenantId, userId: user.id, roles: ['owner'] }
    await expect(
      runWithRlsContext(context, () => database.pool.query(statement, values)),
    ).rejects.toMatchObject({ code: '42501' })
  })
})
