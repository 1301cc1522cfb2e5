import { randomUUID } from 'node:crypto'
import { systemPrincipal } from '@quintet/core'
import { exportParts, exports, removals, roleLosses } from '@quintet/example-platform/events'
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

describe('an address', () => {
  it('is confirmed by who reads its mail, and only then invites', async () => {
    const tenant = `t-${randomUUID()}`
    const email = guest()
    const answer = await app.post('/sign-up', { tenant, email, name: 'Ada', password })
    const { user, ...tokens } = (await answer.json()) as { user: Person } & Pick<
      Person,
      'accessToken' | 'refreshToken'
    >
    const owner = { ...user, ...tokens, tenant, email }
    const isVerified = async (): Promise<unknown> =>
      (await app.rpc('account/me', {}, owner))[1]['emailVerified']
    const invite = (): Promise<unknown> => app.rpc('members/invite', { email: guest() }, owner)
    expect(await isVerified()).toBe(false)
    expect(await invite()).toMatchObject([403, { code: 'ERR_ACCOUNT_EMAIL_NOT_VERIFIED' }])
    await until(() => app.mailed(email))
    const first = await app.mailed(email)
    expect(await app.rpc('account/sendVerification', {}, owner)).toEqual([200, {}])
    const complete = async (token: unknown): Promise<number> =>
      (await app.post('/email-verifications/complete', { token })).status
    expect(await complete(first)).toBe(404)
    const token = await app.mailed(email)
    expect(await complete(token)).toBe(200)
    expect(await complete(token)).toBe(404)
    expect(await isVerified()).toBe(true)
    expect(await invite()).toEqual([200, {}])
    // Nothing more is sent, and not without end where it is.
    const sent = (await app.mails(email)).length
    const statuses = new Set<number>()
    for (let each = 0; each < 5; each++)
      statuses.add((await app.rpc('account/sendVerification', {}, owner))[0])
    expect([[...statuses], (await app.mails(email)).length]).toEqual([[200, 429], sent])
  })

  it('is one that reads mail for who was invited by mail, and for no other', async () => {
    const owner = await app.signUp()
    const member = await app.join(owner, guest())
    expect((await app.rpc('account/me', {}, member))[1]).toMatchObject({ emailVerified: true })
    await using silent = await openAuth({ mail: false })
    const other = await silent.signUp()
    const [, { token }] = await silent.rpc('members/invite', { email: guest() }, other)
    const accepted = await silent.post('/invitations/accept', { token, name: 'Guest', password })
    expect(await accepted.json()).toMatchObject({ user: { emailVerified: false } })
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
      { type: 'email.verified' },
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
    await until(() => app.mailed(person.email, 'Your new password'))
    const body = {
      token: await app.mailed(person.email, 'Your new password'),
      password: 'thief horse battery',
    }
    const input = { current: password, password: 'another horse battery' }
    expect((await app.rpc('account/changePassword', input, person))[0]).toBe(200)
    expect((await app.post('/password-resets/complete', body)).status).toBe(404)
    expect((await app.signIn(person, body.password)).status).toBe(401)
  })

  it('is reset with any of the links that were sent, whoever else asks for one, and ends them all', async () => {
    const person = await app.signUp()
    const ask = async (network: string): Promise<number> => {
      const response = await fetch(`${app.url}/password-resets`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'x-forwarded-for': network },
        body: JSON.stringify({ tenant: person.tenant, email: person.email }),
      })
      return response.status
    }
    const links = async (): Promise<readonly string[]> => {
      const mails = await app.mails(person.email)
      return mails.flatMap((mail) => /Your link: ([\w-]{43})$/m.exec(mail)?.[1] ?? [])
    }
    expect(await ask('198.51.100.1')).toBe(200)
    await until(async () => (await links()).length === 1)
    const [first] = await links()
    const strangers = Array.from({ length: 24 }, (_, n) => `203.0.${n}.1`)
    for (const network of strangers) expect(await ask(network)).toBe(200)
    expect(await ask('198.51.100.1')).toBe(200)
    // As much mail as an address gets in a while, and no more.
    await until(async () => (await links()).length === 20)
    const last = (await links()).find((token) => token !== first)
    const complete = async (token: string | undefined): Promise<number> =>
      (await app.post('/password-resets/complete', { token, password: 'another horse battery' })).status
    expect([await complete(first), await complete(first), await complete(last)]).toEqual([200, 404, 404])
  })

  it('is reset by mail, once, and ends all sessions', async () => {
    const person = await app.signUp()
    const asked = await app.post('/password-resets', { tenant: person.tenant, email: person.email })
    const unknown = await app.post('/password-resets', { tenant: person.tenant, email: guest() })
    expect([asked.status, await asked.json()]).toEqual([unknown.status, await unknown.json()])
    await until(() => app.mailed(person.email, 'Your new password'))
    const body = {
      token: await app.mailed(person.email, 'Your new password'),
      password: 'another horse battery',
    }
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
    expect(items).toMatchObject([
      { device: { userAgent: 'node', address: '127.0.0.1' }, methods: ['pwd'] },
      {},
    ])
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

  it('are told of to the ledger when their roles change', async () => {
    const owner = await app.signUp()
    const second = await app.join(owner, guest(), ['owner'])
    const change = { user: second.id, roles: ['member'] }
    expect(await app.rpc('members/setRoles', change, owner)).toEqual([200, {}])
    const heard = async (): Promise<unknown> => {
      const jobs = await app.jobs.bull(roleLosses).getJobs(['prioritized'])
      const payloads = jobs.map(({ data }) => (data as { payload: { data: { userId: string } } }).payload)
      return payloads.find(({ data }) => data.userId === second.id)
    }
    await until(async () => (await heard()) !== undefined)
    expect(await heard()).toMatchObject({
      topic: 'account.roles-changed',
      data: { userId: second.id, roles: ['member'] },
    })
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
      'email.verified',
      'tenant.signed-up',
    ])
    expect(items).toMatchObject([
      { user: null, address: '127.0.0.1' },
      { user: owner.id },
      { actor: owner.id },
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
      const jobs = await app.jobs.bull(removals.ledger).getJobs(['prioritized'])
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
  const asked = async (from: keyof typeof exports, id: unknown): Promise<unknown[]> => {
    const jobs = await app.jobs.bull(exports[from]).getJobs(['prioritized'])
    const payloads = jobs.map(({ data }) => (data as { payload: { data: { exportId: string } } }).payload)
    return payloads.map(({ data }) => data).filter(({ exportId }) => exportId === id)
  }
  const start = async (by: Person, of: 'export' | 'exportTenant' = 'export'): Promise<string> => {
    const [status, body] = await app.rpc(`account/${of}`, {}, by)
    if (status !== 200) throw new Error(JSON.stringify(body))
    return body['id'] as string
  }
  const read = async (id: string, by: Person): Promise<unknown> =>
    (await app.rpc('account/exported', { id }, by))[1]
  const part = async (id: string, from: string, number: number, by: Person): Promise<unknown> =>
    (await app.rpc('account/exportPart', { id, app: from, part: number }, by))[1]
  const noExport = { code: 'ERR_ACCOUNT_NO_EXPORT' }

  it('holds what this app keeps of its subject, and of no one else', async () => {
    const owner = await app.signUp()
    const member = await app.join(owner, guest(), ['owner'])
    await app.signIn(member, 'not the password')
    const invited = guest()
    await app.rpc('members/invite', { email: invited }, member)
    await app.rpc('members/invite', { email: guest() }, owner)
    const rows = async (by: Person, of: 'export' | 'exportTenant'): Promise<Record<string, unknown>[]> => {
      const body = await part(await start(by, of), 'auth', 0, by)
      return (body as { rows: Record<string, unknown>[] }).rows
    }
    const own = await rows(member, 'export')
    expect(own.map(({ kind, type }) => type ?? kind)).toEqual([
      'user',
      'session',
      'invitation',
      'invitation.accepted',
      'sign-in.failed',
      'invitation.sent',
    ])
    expect(own[2]).toMatchObject({ email: invited, invitedBy: member.id })
    expect(JSON.stringify(own)).not.toContain(owner.id)
    expect(JSON.stringify(own)).not.toMatch(/argon2|hash/)
    const all = await rows(owner, 'exportTenant')
    const count = (kind: string): number => all.filter((row) => row['kind'] === kind).length
    expect([count('user'), count('session'), count('invitation')]).toEqual([2, 2, 2])
  })

  it('gathers what all apps keep, part by part, for who has asked for it alone', async () => {
    const owner = await app.signUp()
    const member = await app.join(owner, guest())
    const stranger = await app.signUp()
    const id = await start(member)
    expect(await read(id, member)).toMatchObject({
      complete: false,
      apps: { auth: { parts: 1, complete: true }, media: { parts: 0, complete: false } },
    })
    expect(await part(id, 'auth', 0, member)).toMatchObject({
      rows: [
        { kind: 'user', id: member.id },
        { kind: 'session', user: member.id, device: { userAgent: 'node', address: '127.0.0.1' } },
        { kind: 'audit', type: 'invitation.accepted', address: '127.0.0.1' },
      ],
    })
    await until(async () => (await asked('media', id)).length === 1)
    expect(await asked('media', id)).toMatchObject([{ userId: member.id, part: 0, after: null }])
    const send = (
      from: string,
      number: number,
      next: string | null,
      rows: unknown[],
      by = owner,
    ): Promise<unknown> =>
      app.jobs.enqueue(
        exportParts,
        { exportId: id, app: from, userId: member.id, part: number, next, rows },
        { principal: systemPrincipal('test', by.tenantId) },
      )
    await send('media', 0, null, ['forged'], stranger)
    await send('media', 0, 'cursor', ['a'])
    // The next part is asked for when this one has come.
    await until(async () => (await asked('media', id)).length === 2)
    expect(await asked('media', id)).toContainEqual({
      exportId: id,
      userId: member.id,
      part: 1,
      after: 'cursor',
    })
    await send('media', 0, 'cursor', ['a again'])
    await send('media', 1, null, ['b'])
    expect(await read(id, member)).toMatchObject({ complete: false })
    await send('ledger', 0, null, ['c'])
    await send('analytics', 0, null, [])
    await until(async () => ((await read(id, member)) as { complete: boolean }).complete)
    expect(await read(id, member)).toMatchObject({ apps: { media: { parts: 2, complete: true } } })
    expect(await part(id, 'media', 0, member)).toEqual({ rows: ['a'] })
    expect(await part(id, 'media', 1, member)).toEqual({ rows: ['b'] })
    expect(await part(id, 'media', 2, member)).toMatchObject(noExport)
    for (const by of [owner, stranger]) {
      expect(await read(id, by)).toMatchObject(noExport)
      expect(await part(id, 'media', 0, by)).toMatchObject(noExport)
    }
    await until(
      async () => (await app.jobs.bull(exportParts).getJobCountByTypes('completed', 'prioritized')) === 0,
    )
    await app.rpc('account/remove', { password }, member)
    const left = await app.database.systemPool.query('select 1 from export_parts where export_id = $1', [id])
    expect(left.rows).toEqual([])
    // What comes for an export that is gone is not kept, and nothing follows it.
    await send('media', 1, 'on and on', ['late'])
    await until(async () => (await app.jobs.counts(exportParts)).waiting === 0)
    expect(await asked('media', id)).toHaveLength(2)
  })

  it('is made one at a time, and so often in a day', async () => {
    const owner = await app.signUp()
    const second = await app.join(owner, guest(), ['owner'])
    const finish = (id: string): Promise<unknown> =>
      app.database.systemPool.query(
        `insert into export_parts (tenant_id, export_id, app, part, last, rows)
         select $1, $2, app, 0, true, '[]' from unnest(array['media', 'ledger', 'analytics']) as app`,
        [owner.tenantId, id],
      )
    const first = await start(owner, 'exportTenant')
    expect(await Promise.all([start(owner, 'exportTenant'), start(owner, 'exportTenant')])).toEqual([
      first,
      first,
    ])
    expect(await app.rpc('account/exportTenant', {}, second)).toMatchObject([
      409,
      { code: 'ERR_ACCOUNT_EXPORT_RUNNING' },
    ])
    await finish(first)
    const next = await start(second, 'exportTenant')
    expect(await read(first, owner)).toMatchObject(noExport)
    await finish(next)
    await finish(await start(owner, 'exportTenant'))
    expect(await app.rpc('account/exportTenant', {}, owner)).toMatchObject([
      429,
      { code: 'ERR_ACCOUNT_TOO_MANY_EXPORTS' },
    ])
    // Their own is another one.
    expect(await start(owner)).not.toBe(next)
  })

  it('of a tenant is for owners, and ends with a user of whom it tells', async () => {
    const owner = await app.signUp()
    const second = await app.join(owner, guest(), ['owner'])
    const member = await app.join(owner, guest())
    expect((await app.rpc('account/exportTenant', {}, member))[0]).toBe(403)
    const id = await start(second, 'exportTenant')
    await app.rpc('members/setRoles', { user: second.id, roles: ['member'] }, owner)
    const demoted = (await (await app.signIn(second)).json()) as Person
    expect(await read(id, demoted)).toMatchObject(noExport)
    const another = await start(owner, 'exportTenant')
    expect(await part(another, 'auth', 0, owner)).toMatchObject({
      rows: expect.arrayContaining([expect.objectContaining({ kind: 'user', id: owner.id })]) as unknown,
    })
    await app.rpc('members/remove', { user: member.id }, owner)
    expect(await read(another, owner)).toMatchObject(noExport)
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

  it('come from where the metadata says (RFC 8414, RFC 6749)', async () => {
    const metadata = (await (
      await fetch(`${app.url}/.well-known/oauth-authorization-server`)
    ).json()) as Record<string, unknown>
    expect(metadata).toMatchObject({
      issuer: 'https://auth.test.example',
      grant_types_supported: ['refresh_token', 'client_credentials'],
    })
    const path = new URL(String(metadata['token_endpoint'])).pathname.replace('/api/auth', '')
    const ask = async (members: Record<string, string>): Promise<[number, Record<string, unknown>]> => {
      const answer = await fetch(app.url + path, { method: 'POST', body: new URLSearchParams(members) })
      return [answer.status, (await answer.json()) as Record<string, unknown>]
    }
    const person = await app.signUp()
    const grant = { grant_type: 'refresh_token', refresh_token: person.refreshToken }
    const [status, tokens] = await ask(grant)
    expect([status, tokens['token_type'], tokens['expires_in']]).toEqual([200, 'Bearer', 300])
    expect(await isAlive({ ...person, accessToken: String(tokens['access_token']) })).toBe(true)
    expect(await ask({ ...grant, refresh_token: 'nonsense' })).toEqual([400, { error: 'invalid_grant' }])
    expect(await ask({ ...grant, grant_type: 'password' })).toEqual([
      400,
      { error: 'unsupported_grant_type' },
    ])
    expect((await ask({ refresh_token: 'x' }))[0]).toBe(400)
  })
})
