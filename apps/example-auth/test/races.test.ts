import { randomUUID } from 'node:crypto'
import { until } from '@quintet/test-kit'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { openAuth, password, type AuthApp, type Person } from './auth-app.ts'

/** Holds back what has been checked, as the line before the hashing does: the test lets each through. */
const latch = vi.hoisted(() => ({ isClosed: false, waiting: [] as (() => void)[] }))
vi.mock('../src/passwords.ts', async (original) => {
  const real = await original<typeof import('../src/passwords.ts')>()
  return {
    ...real,
    createPasswords() {
      const passwords = real.createPasswords()
      return {
        ...passwords,
        async check(...given: Parameters<typeof passwords.check>) {
          try {
            await passwords.check(...given)
          } finally {
            if (latch.isClosed) await new Promise<void>((resolve) => latch.waiting.push(resolve))
          }
        },
      }
    },
  }
})

function close(): void {
  latch.waiting = []
  latch.isClosed = true
}

/** Lets one through, in the order in which they were checked, and all that come later. */
function open(index = 0): void {
  latch.isClosed = false
  latch.waiting[index]?.()
}

/** Makes a call that is held back; one that is refused because Redis was too slow is made again. */
async function hold<Answer>(call: () => Promise<Answer>): Promise<{ readonly answer: Promise<Answer> }> {
  const before = latch.waiting.length
  for (;;) {
    let isOver = false
    const answer = call().finally(() => {
      isOver = true
    })
    await until(async () => latch.waiting.length > before || isOver)
    if (latch.waiting.length > before) return { answer }
    const ended = await answer
    const status = ended instanceof Response ? ended.status : (ended as [number])[0]
    if (status !== 503) throw new Error(`It was answered with ${status} before it was held.`)
  }
}

let app: AuthApp
beforeAll(async () => {
  app = await openAuth()
})
afterEach(() => {
  latch.isClosed = false
  for (const pass of latch.waiting) pass()
})
afterAll(async () => {
  await app[Symbol.asyncDispose]()
})

const guest = (): string => `guest-${randomUUID()}@example.com`

async function team(): Promise<{ owner: Person; second: Person }> {
  const owner = await app.signUp()
  return { owner, second: await app.join(owner, guest(), ['owner']) }
}

/** The token of a reset, which needs no check of a password. */
async function resetToken(person: Person): Promise<string> {
  await app.post('/password-resets', { tenant: person.tenant, email: person.email })
  await until(async () => (await app.mails(person.email)).some((mail) => mail.includes('Your new password')))
  return (await app.mailed(person.email, 'Your new password')) ?? ''
}

describe('a sign-in that waits for its hash', () => {
  it.each([
    [
      'removed',
      async ({ owner, second }: Awaited<ReturnType<typeof team>>) =>
        (await app.rpc('members/remove', { user: second.id }, owner))[0],
    ],
    [
      'given other roles',
      async ({ owner, second }: Awaited<ReturnType<typeof team>>) =>
        (await app.rpc('members/setRoles', { user: second.id, roles: ['member'] }, owner))[0],
    ],
    [
      'given a new password by a reset',
      async ({ second }: Awaited<ReturnType<typeof team>>) => {
        const body = { token: await resetToken(second), password: 'another horse battery' }
        return (await app.post('/password-resets/complete', body)).status
      },
    ],
    [
      'signed out everywhere',
      async ({ second }: Awaited<ReturnType<typeof team>>) =>
        (await app.rpc('account/signOutEverywhere', {}, second))[0],
    ],
  ])('makes no session for who was %s meanwhile', async (_, change) => {
    const people = await team()
    close()
    const signingIn = await hold(() => app.signIn(people.second))
    expect(await change(people)).toBe(200)
    open()
    const answer = await signingIn.answer
    expect([answer.status, ((await answer.json()) as { code: string }).code]).toEqual([
      401,
      'ERR_AUTH_SIGN_IN_OUTDATED',
    ])
    const { rows } = await app.database.systemPool.query(
      'select 1 from auth_sessions where user_id = $1 and revoked_at is null',
      [people.second.id],
    )
    expect(rows).toEqual([])
  })

  it('leaves no trace of where who was removed meanwhile came from, since nothing erases it any more', async () => {
    const { owner, second } = await team()
    close()
    const failing = await hold(() => app.signIn(second, 'not the password'))
    expect((await app.rpc('members/remove', { user: second.id }, owner))[0]).toBe(200)
    open()
    expect((await failing.answer).status).toBe(401)
    const { rows } = await app.database.systemPool.query(
      "select address from audit_events where user_id = $1 and type = 'sign-in.failed'",
      [second.id],
    )
    expect(rows).toEqual([{ address: null }])
  })

  it('makes none with a password that was changed meanwhile', async () => {
    const { second } = await team()
    close()
    const signingIn = await hold(() => app.signIn(second))
    const input = { current: password, password: 'another horse battery' }
    const changing = await hold(() => app.rpc('account/changePassword', input, second))
    open(1)
    expect((await changing.answer)[0]).toBe(200)
    open(0)
    expect((await signingIn.answer).status).toBe(401)
    expect((await app.rpc('account/me', {}, second))[0]).toBe(200)
  })

  it('makes none in a tenant that was removed meanwhile, which has no users from then on', async () => {
    const { owner, second } = await team()
    await app.rpc('members/invite', { email: 'late@example.com' }, second)
    close()
    const signingIn = await hold(() => app.signIn(second))
    const removing = await hold(() => app.rpc('account/removeTenant', { password }, owner))
    open(1)
    expect((await removing.answer)[0]).toBe(200)
    open(0)
    expect((await signingIn.answer).status).toBe(401)
    const accept = { token: await app.mailed('late@example.com'), name: 'Late', password }
    expect((await app.post('/invitations/accept', accept)).status).toBe(404)
    expect((await app.signIn(owner)).status).toBe(401)
    const adding = app.database.systemPool.query(
      "insert into users (tenant_id, email, name, roles) values ($1, 'x@x.example', 'X', '{owner}')",
      [owner.tenantId],
    )
    await expect(adding).rejects.toThrow('the tenant was removed')
  })
})

describe('who waits to have a password confirmed', () => {
  it.each([
    ['changes no password', 'changePassword', { current: password, password: 'thief horse battery' }],
    ['removes no account', 'remove', { password }],
    ['removes no tenant', 'removeTenant', { password }],
  ])('%s after the password was reset meanwhile', async (_, name, input) => {
    const { second } = await team()
    close()
    const waiting = await hold(() => app.rpc(`account/${name}`, input, second))
    const body = { token: await resetToken(second), password: 'another horse battery' }
    expect((await app.post('/password-resets/complete', body)).status).toBe(200)
    open()
    expect(await waiting.answer).toMatchObject([401, { code: 'ERR_ACCOUNT_CALLER_CHANGED' }])
    expect((await app.signIn(second, 'another horse battery')).status).toBe(200)
  })
})

describe('a connection that is lost between a new password and the end of sessions', () => {
  it('leaves both as they were, and the link for the next try', async () => {
    const { second } = await team()
    const body = { token: await resetToken(second), password: 'another horse battery' }
    const { systemPool } = app.database
    const blocker = await systemPool.connect()
    await blocker.query('begin')
    await blocker.query('select 1 from auth_sessions where user_id = $1 for update', [second.id])
    const resetting = app.post('/password-resets/complete', body)
    await until(async () => {
      const { rows } = await systemPool.query<{ pid: number }>(
        `select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
         and query like 'update %auth_sessions%'`,
      )
      if (rows[0]) await systemPool.query('select pg_terminate_backend($1)', [rows[0].pid])
      return rows.length > 0
    })
    expect((await resetting).status).toBeGreaterThanOrEqual(500)
    await blocker.query('rollback')
    blocker.release()
    expect((await app.signIn(second)).status).toBe(200)
    expect((await app.rpc('account/me', {}, second))[0]).toBe(200)
    expect((await app.post('/password-resets/complete', body)).status).toBe(200)
    expect((await app.post('/refresh', { refreshToken: second.refreshToken })).status).toBe(401)
    expect((await app.signIn(second)).status).toBe(401)
  })
})

describe('a change while Redis takes no word of it', () => {
  it('is answered as done, refreshes no session from before, and reaches Redis later', async () => {
    const { owner, second } = await team()
    // Redis takes nothing for a while: the app cannot tell it.
    await app.redis.client('sessions').call('CLIENT', 'PAUSE', '2000', 'WRITE')
    const changed = await app.rpc('members/setRoles', { user: second.id, roles: ['member'] }, owner)
    expect(changed[0]).toBe(200)
    const { rows } = await app.database.systemPool.query(
      'select 1 from auth_sessions where user_id = $1 and revoked_at is null',
      [second.id],
    )
    expect(rows).toEqual([])
    await until(async () => (await app.rpc('account/me', {}, second))[0] === 401)
  })
})
