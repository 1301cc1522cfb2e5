import { randomUUID } from 'node:crypto'
import { systemPrincipal } from '@quintet/core'
import { exportParts, removals } from '@quintet/example-platform/events'
import { until } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openAuth, password, type AuthApp, type Person } from './auth-app.ts'

let app: AuthApp

beforeAll(async () => {
  app = await openAuth()
})
afterAll(async () => {
  await app[Symbol.asyncDispose]()
})

const guest = (): string => `guest-${randomUUID()}@example.com`
const isAlive = async (person: Person): Promise<boolean> =>
  (await app.rpc('account/me', {}, person))[0] === 200
const code = async (response: Response): Promise<unknown> =>
  ((await response.json()) as { code: unknown }).code

describe('an invitation', () => {
  it('goes by mail to who chooses their own password, and is used once', async () => {
    const owner = await app.signUp()
    const email = guest()
    expect(await app.rpc('members/invite', { email }, owner)).toEqual([200, {}])
    const body = { token: await app.mailed(email), name: 'Guest', password }
    const accepted = await app.post('/invitations/accept', body)
    expect(await accepted.json()).toMatchObject({
      user: { email, roles: ['member'], tenantId: owner.tenantId },
    })
    const again = await app.post('/invitations/accept', body)
    expect([again.status, await code(again)]).toEqual([404, 'ERR_ACCOUNT_BAD_TICKET'])
  })

  it('is replaced by a newer one, and cannot be guessed', async () => {
    const owner = await app.signUp()
    const email = guest()
    await app.rpc('members/invite', { email }, owner)
    const first = await app.mailed(email)
    await app.rpc('members/invite', { email, roles: ['owner'] }, owner)
    const accept = (token: unknown): Promise<Response> =>
      app.post('/invitations/accept', { token, name: 'Guest', password })
    expect((await accept(first)).status).toBe(404)
    expect((await accept('x'.repeat(43))).status).toBe(404)
    expect((await accept(await app.mailed(email))).status).toBe(200)
  })

  it('is handed over by the inviter where no mail is sent', async () => {
    await using silent = await openAuth({ mail: false })
    const owner = await silent.signUp()
    const [, { token }] = await silent.rpc('members/invite', { email: guest() }, owner)
    expect((await silent.post('/invitations/accept', { token, name: 'Guest', password })).status).toBe(200)
    const reset = await silent.post('/password-resets', { tenant: owner.tenant, email: owner.email })
    expect(await code(reset)).toBe('ERR_ACCOUNT_NO_MAIL')
  })
})

describe('an invitation that was sent before', () => {
  const accept = async (token: unknown): Promise<number> =>
    (await app.post('/invitations/accept', { token, name: 'Guest', password })).status

  it.each(['remove', 'setRoles'] as const)('ends with its inviter: %s', async (how) => {
    const owner = await app.signUp()
    const evil = await app.join(owner, guest(), ['owner'])
    const email = guest()
    await app.rpc('members/invite', { email, roles: ['owner'] }, evil)
    const input = { user: evil.id, ...(how === 'setRoles' && { roles: ['member'] }) }
    expect(await app.rpc(`members/${how}`, input, owner)).toEqual([200, {}])
    expect(await accept(await app.mailed(email))).toBe(404)
    expect(await app.rpc('members/invitations', {}, owner)).toMatchObject([200, { items: [] }])
  })

  it('ends with the user of its address, and is sent to none', async () => {
    const owner = await app.signUp()
    const email = guest()
    await app.rpc('members/invite', { email }, owner)
    const token = await app.mailed(email)
    const bob = await app.join(owner, email)
    expect(await app.rpc('members/invite', { email }, owner)).toMatchObject([
      409,
      { code: 'ERR_ACCOUNT_EMAIL_TAKEN' },
    ])
    await app.rpc('members/remove', { user: bob.id }, owner)
    expect(await accept(token)).toBe(404)
    const [, { items }] = await app.rpc('members/audit', {}, owner)
    expect(JSON.stringify(items)).not.toContain(email)
  })

  it('is listed, told of in the audit, and taken back by owners alone', async () => {
    const owner = await app.signUp()
    const member = await app.join(owner, guest())
    const email = guest()
    await app.rpc('members/invite', { email, roles: ['owner'] }, owner)
    expect(await app.rpc('members/invitations', {}, owner)).toMatchObject([
      200,
      { items: [{ email, roles: ['owner'], invitedBy: owner.id }], next: null },
    ])
    for (const [call, input] of [
      ['invitations', {}],
      ['withdrawInvitation', { email }],
    ] as const)
      expect((await app.rpc(`members/${call}`, input, member))[0]).toBe(403)
    expect(await app.rpc('members/withdrawInvitation', { email }, owner)).toEqual([200, {}])
    expect(await app.rpc('members/withdrawInvitation', { email }, owner)).toMatchObject([
      404,
      { code: 'ERR_ACCOUNT_NO_INVITATION' },
    ])
    expect(await accept(await app.mailed(email))).toBe(404)
    const [, { items }] = await app.rpc('members/audit', {}, owner)
    expect(items).toMatchObject([
      { type: 'invitation.withdrawn', actor: owner.id, email },
      { type: 'invitation.sent', actor: owner.id, email },
      { type: 'invitation.accepted' },
      { type: 'invitation.sent' },
      { type: 'tenant.signed-up' },
    ])
  })
})

describe('a password', () => {
  it('is changed by who knows it, and ends the other sessions', async () => {
    const person = await app.signUp()
    const other = (await (await app.signIn(person)).json()) as Person
    const change = (current: string, next: string): Promise<[number, Record<string, unknown>]> =>
      app.rpc('account/changePassword', { current, password: next }, person)
    expect((await change('not the password', 'another horse battery'))[0]).toBe(401)
    expect(await change(password, person.email)).toMatchObject([400, { code: 'ERR_ACCOUNT_WEAK_PASSWORD' }])
    expect(await change(password, 'another horse battery')).toEqual([200, { ended: 1 }])
    expect([await isAlive(person), await isAlive(other)]).toEqual([true, false])
    expect((await app.signIn(person)).status).toBe(401)
    expect((await app.signIn(person, 'another horse battery')).status).toBe(200)
  })

  it('ends the links for a new one when it is changed', async () => {
    const person = await app.signUp()
    await app.post('/password-resets', { tenant: person.tenant, email: person.email })
    await until(() => app.mailed(person.email))
    const body = { token: await app.mailed(person.email), password: 'thief horse battery' }
    const input = { current: password, password: 'another horse battery' }
    expect((await app.rpc('account/changePassword', input, person))[0]).toBe(200)
    expect((await app.post('/password-resets/complete', body)).status).toBe(404)
    expect((await app.signIn(person, body.password)).status).toBe(401)
  })

  it('is reset by mail, once, and ends all sessions', async () => {
    const person = await app.signUp()
    const asked = await app.post('/password-resets', { tenant: person.tenant, email: person.email })
    const unknown = await app.post('/password-resets', { tenant: person.tenant, email: guest() })
    expect([asked.status, await asked.json()]).toEqual([unknown.status, await unknown.json()])
    await until(() => app.mailed(person.email))
    const body = { token: await app.mailed(person.email), password: 'another horse battery' }
    expect((await app.post('/password-resets/complete', body)).status).toBe(200)
    expect((await app.post('/password-resets/complete', body)).status).toBe(404)
    expect(await isAlive(person)).toBe(false)
    expect((await app.signIn(person, body.password)).status).toBe(200)
  })
})

describe('the sessions of a user', () => {
  it('are ended one by one, and those of others by no one else', async () => {
    const person = await app.signUp()
    const stranger = await app.signUp()
    const lost = (await (await app.signIn(person)).json()) as Person
    const [, { items }] = await app.rpc('account/sessions', {}, lost)
    const { id } = (items as { id: string; current: boolean }[]).find(({ current }) => current) ?? { id: '' }
    expect(await app.rpc('account/endSession', { id }, stranger)).toEqual([200, { ended: 0 }])
    expect(await isAlive(lost)).toBe(true)
    expect(await app.rpc('account/endSession', { id }, person)).toEqual([200, { ended: 1 }])
    expect([await isAlive(lost), await isAlive(person)]).toEqual([false, true])
  })
})

describe('the users of a tenant', () => {
  it('are listed, given roles and removed by its owners alone', async () => {
    const owner = await app.signUp()
    const member = await app.join(owner, guest())
    const stranger = await app.signUp()
    const [, { items }] = await app.rpc('members/list', {}, owner)
    expect((items as { id: string }[]).map(({ id }) => id)).toEqual([owner.id, member.id])
    for (const call of ['list', 'audit', 'invite', 'setRoles', 'remove'])
      expect((await app.rpc(`members/${call}`, {}, member))[0]).toBe(403)
    for (const [call, input] of [
      ['setRoles', { user: member.id, roles: ['owner'] }],
      ['remove', { user: member.id }],
    ] as const)
      expect(await app.rpc(`members/${call}`, input, stranger)).toMatchObject([
        404,
        { code: 'ERR_ACCOUNT_NO_USER' },
      ])
    expect(await app.rpc('members/setRoles', { user: member.id, roles: ['owner'] }, owner)).toEqual([200, {}])
    expect(await isAlive(member)).toBe(false)
    const promoted = (await (await app.signIn(member)).json()) as Person
    expect(await app.rpc('members/remove', { user: owner.id }, promoted)).toEqual([200, {}])
    expect([await isAlive(owner), (await app.signIn(owner)).status]).toEqual([false, 401])
  })

  it('keep an owner, whatever two of them do at once', async () => {
    const owner = await app.signUp()
    const second = await app.join(owner, guest(), ['owner'])
    const outcomes = await Promise.all([
      app.rpc('members/remove', { user: second.id }, owner),
      app.rpc('members/setRoles', { user: owner.id, roles: ['member'] }, second),
      app.rpc('account/remove', { password }, owner),
    ])
    const { rows } = await app.database.systemPool.query(
      `select 1 from users where tenant_id = $1 and 'owner' = any (roles)`,
      [owner.tenantId],
    )
    expect(rows).toHaveLength(1)
    expect(outcomes.filter(([status]) => status === 200)).toHaveLength(1)
  })

  it('leave traces for its owners: failed sign-ins too, and nothing for others', async () => {
    const owner = await app.signUp()
    await app.signIn(owner, 'not the password')
    await app.signIn({ tenant: owner.tenant, email: guest() }, 'not the password')
    const [, { items }] = await app.rpc('members/audit', {}, owner)
    expect((items as { type: string }[]).map(({ type }) => type)).toEqual([
      'sign-in.failed',
      'sign-in.failed',
      'tenant.signed-up',
    ])
    expect(items).toMatchObject([
      { user: null, address: '127.0.0.1' },
      { user: owner.id },
      { actor: owner.id },
    ])
  })
})

describe('who is removed', () => {
  it('is told to all apps, a tenant with each of its users', async () => {
    const owner = await app.signUp()
    const member = await app.join(owner, guest())
    const leaving = await app.join(owner, guest())
    expect((await app.rpc('account/remove', { password: 'not the password' }, leaving))[0]).toBe(401)
    expect(await app.rpc('account/remove', { password }, leaving)).toEqual([200, {}])
    expect((await app.rpc('account/removeTenant', { password }, member))[0]).toBe(403)
    expect(await app.rpc('account/removeTenant', { password }, owner)).toEqual([200, {}])
    expect([await isAlive(owner), await isAlive(member), await isAlive(leaving)]).toEqual([
      false,
      false,
      false,
    ])
    const heard = async (): Promise<string[]> => {
      const jobs = await app.jobs.bull(removals.ledger).getJobs(['wait'])
      return jobs.flatMap(({ data }) => {
        const { ctx, payload } = data as {
          ctx: { tenant: string }
          payload: { topic: string; data: { userId?: string } }
        }
        return ctx.tenant === owner.tenantId ? [`${payload.topic} ${payload.data.userId ?? ''}`.trim()] : []
      })
    }
    await until(async () => (await heard()).length === 4)
    expect((await heard()).toSorted()).toEqual(
      [
        'account.tenant-removed',
        ...[owner, member, leaving].map(({ id }) => `account.user-removed ${id}`),
      ].toSorted(),
    )
    // Its name stays taken, for who would pass for it.
    const squatter = { tenant: owner.tenant, email: guest(), name: 'Eve', password }
    expect((await app.post('/sign-up', squatter)).status).toBe(409)
  })
})

describe('an export', () => {
  it('gathers what all apps keep, for who has asked for it alone', async () => {
    const owner = await app.signUp()
    const member = await app.join(owner, guest())
    const stranger = await app.signUp()
    const [, { id }] = await app.rpc('account/export', {}, member)
    const read = async (by: Person): Promise<unknown> => (await app.rpc('account/exported', { id }, by))[1]
    expect(await read(member)).toMatchObject({
      complete: false,
      rows: { auth: [{ kind: 'user', id: member.id }], media: [], ledger: [] },
    })
    const principal = systemPrincipal('test', owner.tenantId)
    const send = (
      from: string,
      part: number,
      last: boolean,
      rows: unknown[],
      as = principal,
    ): Promise<unknown> =>
      app.jobs.enqueue(
        exportParts,
        { exportId: id as string, app: from, part, last, rows },
        { principal: as },
      )
    await send('media', 0, false, ['forged'], systemPrincipal('test', stranger.tenantId))
    const arrived = (): Promise<number> =>
      app.database.systemPool
        .query('select 1 from export_parts where export_id = $1', [id])
        .then(({ rows }) => rows.length)
    await send('media', 1, true, [])
    await send('ledger', 0, true, ['b'])
    await until(async () => (await arrived()) === 3)
    expect(await read(member)).toMatchObject({ complete: false, rows: { media: [], ledger: ['b'] } })
    await send('media', 0, false, ['a'])
    await until(async () => (await arrived()) === 4)
    await send('media', 0, false, ['a again'])
    await until(async () => (await app.jobs.counts(exportParts)).waiting === 0)
    expect(await read(member)).toMatchObject({ complete: true, rows: { media: ['a'], ledger: ['b'] } })
    for (const by of [owner, stranger])
      expect(await read(by)).toMatchObject({ code: 'ERR_ACCOUNT_NO_EXPORT' })
    expect((await app.rpc('account/exportTenant', {}, member))[0]).toBe(403)
    const [, tenant] = await app.rpc('account/exportTenant', {}, owner)
    const [, { rows }] = await app.rpc('account/exported', { id: tenant['id'] }, owner)
    expect((rows as { auth: unknown[] }).auth).toHaveLength(2)
    await app.rpc('account/remove', { password }, member)
    const left = await app.database.systemPool.query('select 1 from export_parts where export_id = $1', [id])
    expect(left.rows).toEqual([])
  })
})

describe('tokens', () => {
  const form = (path: string, token: string, by?: Person): Promise<Response> =>
    fetch(app.url + path, {
      method: 'POST',
      headers: {
        'content-type': 'application/x-www-form-urlencoded',
        ...(by && { authorization: `Bearer ${by.accessToken}` }),
      },
      body: new URLSearchParams({ token }),
    })

  it('are introspected by who is of the same tenant (RFC 7662)', async () => {
    const owner = await app.signUp()
    const member = await app.join(owner, guest())
    const stranger = await app.signUp()
    const seen = async (token: string, by: Person): Promise<unknown> =>
      (await form('/introspect', token, by)).json()
    expect(await seen(member.accessToken, owner)).toMatchObject({
      active: true,
      sub: member.id,
      token_type: 'Bearer',
    })
    expect(await seen(member.accessToken, stranger)).toEqual({ active: false })
    expect(await seen('nonsense', owner)).toEqual({ active: false })
    expect((await form('/introspect', owner.accessToken)).status).toBe(401)
    expect((await app.post('/introspect', { token: 'x' }, owner.accessToken)).status).toBe(400)
    await form('/revoke', member.refreshToken)
    expect(await seen(member.accessToken, owner)).toEqual({ active: false })
  })

  it('are revoked by who has them, without a word on others (RFC 7009)', async () => {
    const person = await app.signUp()
    expect((await form('/revoke', 'nonsense')).status).toBe(200)
    expect(await isAlive(person)).toBe(true)
    expect((await form('/revoke', person.refreshToken)).status).toBe(200)
    expect(await isAlive(person)).toBe(false)
  })

  it('come from where the metadata says (RFC 8414)', async () => {
    const metadata = (await (
      await fetch(`${app.url}/.well-known/oauth-authorization-server`)
    ).json()) as object
    expect(metadata).toMatchObject({
      issuer: 'https://auth.test.example',
      grant_types_supported: ['refresh_token'],
    })
  })
})
