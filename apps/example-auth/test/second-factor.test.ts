import { randomUUID } from 'node:crypto'
import { totpCode } from '@quintet/auth'
import { Secret } from '@quintet/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createSealer } from '../src/sealed.ts'
import { openAuth, password, type AuthApp, type Person } from './auth-app.ts'

let app: AuthApp

beforeAll(async () => {
  app = await openAuth({ mail: false })
})
afterAll(async () => {
  await app[Symbol.asyncDispose]()
})

const wrong = { code: 'ERR_ACCOUNT_BAD_CODE' }

interface Enrolled {
  /** The code of the app, so many steps after that by which it was confirmed. */
  code(steps: number): string
  readonly secret: string
  readonly recoveryCodes: readonly string[]
}

async function enrol(by: Person, given = password): Promise<Enrolled> {
  const [status, { secret, uri }] = await app.rpc('secondFactor/enrol', { password: given }, by)
  expect([status, uri]).toEqual([
    200,
    expect.stringContaining(`secret=${String(secret)}&issuer=auth.test.example`),
  ])
  const at = Date.now()
  const code = (steps: number): string => totpCode(String(secret), at + steps * 30_000)
  const [confirmed, body] = await app.rpc('secondFactor/confirm', { code: code(0) }, by)
  expect(confirmed).toBe(200)
  return { code, secret: String(secret), recoveryCodes: body['recoveryCodes'] as string[] }
}

async function stepUp(by: Person, code: string, of = by): Promise<[number, Person]> {
  const answer = await app.post('/step-up', { refreshToken: of.refreshToken, code }, by.accessToken)
  return [answer.status, { ...by, ...((await answer.json()) as Person) }]
}

async function audited(person: Person): Promise<readonly string[]> {
  const { rows } = await app.database.systemPool.query<{ type: string }>(
    "select type from audit_events where user_id = $1 and type like 'second-factor%' order by id",
    [person.id],
  )
  return rows.map(({ type }) => type)
}

describe('a second factor', () => {
  it('is confirmed by a first code, lifts a session by each code once, and leaves its trace', async () => {
    const person = await app.signUp()
    const other = await app.signIn(person)
    const { accessToken } = (await other.json()) as Person
    expect(await app.rpc('secondFactor/enrol', { password: 'not the password' }, person)).toMatchObject([
      401,
      {},
    ])
    expect(await app.rpc('secondFactor/confirm', { code: '000000' }, person)).toMatchObject([403, wrong])
    const { code, recoveryCodes } = await enrol(person)
    expect(new Set(recoveryCodes).size).toBe(10)
    expect((await app.rpc('account/me', {}, { ...person, accessToken }))[0]).toBe(401)
    expect(await app.rpc('secondFactor/enrol', { password }, person)).toMatchObject([
      409,
      { code: 'ERR_ACCOUNT_FACTOR_ENROLLED' },
    ])
    // The code of the confirmation is used up, and so is each one after it.
    expect(await stepUp(person, code(0))).toMatchObject([403, wrong])
    const [status, lifted] = await stepUp(person, code(1))
    expect(status).toBe(200)
    expect(await stepUp(lifted, code(1))).toMatchObject([403, wrong])
    expect(await stepUp(lifted, code(0))).toMatchObject([403, wrong])
    const claims = JSON.parse(
      Buffer.from(lifted.accessToken.split('.')[1] ?? '', 'base64url').toString(),
    ) as object
    expect(claims).toMatchObject({ aal: 2, amr: ['pwd', 'otp'] })
    expect(await audited(person)).toEqual([
      'second-factor.refused',
      'second-factor.enrolled',
      'second-factor.refused',
      'second-factor.used',
      'second-factor.refused',
      'second-factor.refused',
    ])
  })

  it('is made up for by recovery codes, each once, also when many come at the same time', async () => {
    const person = await app.signUp()
    const { recoveryCodes } = await enrol(person)
    const [first = '', second = ''] = recoveryCodes
    const codes = await Promise.all(
      [0, 1, 2].map(() => app.rpc('secondFactor/remove', { password, code: first }, person)),
    )
    expect(codes.map(([status]) => status).toSorted()).toEqual([200, 403, 403])
    // With the factor its codes are gone.
    expect(await stepUp(person, second)).toMatchObject([403, wrong])
    const again = await enrol(person)
    const [status, lifted] = await stepUp(person, again.recoveryCodes[0]?.toLowerCase() ?? '')
    expect(status).toBe(200)
    expect(await stepUp(lifted, again.recoveryCodes[0] ?? '')).toMatchObject([403, wrong])
  })

  it('lifts no session of another user, and is not guessed', async () => {
    const [person, victim] = [await app.signUp(), await app.signUp()]
    const { code } = await enrol(person)
    expect(await stepUp(person, code(1), victim)).toMatchObject([401, { code: 'ERR_AUTH_REFRESH_INVALID' }])
    expect((await app.rpc('account/me', {}, victim))[0]).toBe(200)
    expect(await stepUp(victim, code(1))).toMatchObject([403, wrong])
    const statuses: number[] = []
    for (let each = 0; each < 12; each++) statuses.push((await stepUp(person, '000000'))[0])
    expect(new Set(statuses.slice(0, 8))).toEqual(new Set([403]))
    expect(statuses.at(-1)).toBe(429)
  })

  it('is kept sealed, for its user alone, with its recovery codes hashed, and goes with the user', async () => {
    const owner = await app.signUp()
    const { secret, recoveryCodes } = await enrol(owner)
    const dump = async (): Promise<string> => {
      const { rows } = await app.database.systemPool.query<{ row: string }>(
        `select f::text || secret::text || convert_from(convert_to(encode(secret, 'escape'), 'utf8'), 'utf8') as row
         from second_factors f where user_id = $1
         union all select r::text from recovery_codes r where user_id = $1`,
        [owner.id],
      )
      return rows.map(({ row }) => row).join()
    }
    const kept = await dump()
    expect(kept).not.toBe('')
    for (const text of [secret, ...recoveryCodes]) {
      expect(kept).not.toContain(text)
      expect(kept).not.toContain(Buffer.from(text).toString('hex'))
    }
    const [, { id }] = await app.rpc('account/export', {}, owner)
    const [, part] = await app.rpc('account/exportPart', { id, app: 'auth', part: 0 }, owner)
    expect(part['rows']).toContainEqual({ kind: 'second-factor', confirmedAt: expect.any(String) as unknown })
    expect(JSON.stringify(part)).not.toContain(secret)
    await app.rpc('account/removeTenant', { password }, owner)
    expect(await dump()).toBe('')
  })
})

describe('the operator', () => {
  const signIn = async (): Promise<Person> => {
    const tenant = 'platform'
    const email = 'operator@platform.example'
    const answer = await app.signIn({ tenant, email }, app.operatorPassword)
    const body = (await answer.json()) as Person & { user: Person }
    return { ...body.user, ...body, tenant, email }
  }
  const settings = async (by: Person): Promise<number> => (await app.rpc('platform/settings', {}, by))[0]

  it('is one only in sessions with the second factor, once there is one or it is asked for', async () => {
    const refresh = async (by: Person): Promise<Person> => ({
      ...by,
      ...((await (await app.post('/refresh', { refreshToken: by.refreshToken })).json()) as Person),
    })
    const change = async (by: Person, value: boolean): Promise<number> =>
      (await app.rpc('platform/setSetting', { key: 'operatorsNeedSecondFactor', value }, by))[0]
    const first = await signIn()
    expect([await settings(first), await change(first, true)]).toEqual([200, 200])
    const weak = await signIn()
    expect(await settings(weak)).toBe(403)
    expect(await settings(await refresh(first))).toBe(403)
    const { code } = await enrol(weak, app.operatorPassword)
    const [status, strong] = await stepUp(weak, code(1))
    expect([status, await settings(strong), await change(strong, false)]).toEqual([200, 200, 200])
    expect(await settings(await refresh(strong))).toBe(200)
    expect(await settings(await refresh(await signIn()))).toBe(403)
  })
})

describe('a sealed secret', () => {
  const [root, next] = [new Secret(randomUUID()), new Secret(randomUUID())]

  it('is opened for its owner alone, by the root that has sealed it, also once that is the former one', () => {
    const sealed = createSealer('test', root).seal('secret', 'ada')
    expect(createSealer('test', root).open(sealed, 'ada')).toEqual({ text: 'secret', isOld: false })
    expect(createSealer('test', next, root).open(sealed, 'ada')).toEqual({ text: 'secret', isOld: true })
    expect(() => createSealer('test', root).open(sealed, 'eve')).toThrow('cannot be opened')
    expect(() => createSealer('test', next).open(sealed, 'ada')).toThrow('cannot be opened')
    expect(() => createSealer('other', root).open(sealed, 'ada')).toThrow('cannot be opened')
    sealed[sealed.length - 1] = (sealed.at(-1) ?? 0) ^ 1
    expect(() => createSealer('test', root).open(sealed, 'ada')).toThrow('cannot be opened')
  })
})
