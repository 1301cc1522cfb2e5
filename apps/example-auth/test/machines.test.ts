import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openAuth, type AuthApp, type Person } from './auth-app.ts'

let app: AuthApp

beforeAll(async () => {
  app = await openAuth()
})
afterAll(async () => {
  await app[Symbol.asyncDispose]()
})

interface Machine {
  readonly id: string
  readonly key: string
}
const scope = 'stats:read'
const guest = (): string => `guest-${randomUUID()}@example.com`

async function add(by: Person): Promise<Machine> {
  const [status, body] = await app.rpc('machines/add', { name: 'Reports', scopes: [scope] }, by)
  expect(status).toBe(200)
  return body as unknown as Machine
}

const basic = ({ id, key }: Machine): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${id}:${key}`).toString('base64')}`,
})

async function token(
  form: Record<string, string> | string,
  headers: Record<string, string> = {},
): Promise<[number, Record<string, unknown>, Headers]> {
  const body = new URLSearchParams(form)
  body.append('grant_type', 'client_credentials')
  const answer = await fetch(`${app.url}/token`, { method: 'POST', body, headers })
  return [answer.status, (await answer.json()) as Record<string, unknown>, answer.headers]
}

/** What the app says of a token: whether it is active, and its subject. */
async function introspect(by: Person, accessToken: unknown): Promise<Record<string, unknown>> {
  const answer = await fetch(`${app.url}/introspect`, {
    method: 'POST',
    headers: { authorization: `Bearer ${by.accessToken}` },
    body: new URLSearchParams({ token: String(accessToken) }),
  })
  return (await answer.json()) as Record<string, unknown>
}

describe('a machine', () => {
  it('gets a token with its scopes for its key, by Basic or in the form, and nothing to refresh it with', async () => {
    const owner = await app.signUp()
    const machine = await add(owner)
    const { id, key } = machine
    expect(key).toMatch(/^qmk_[\w-]{43}$/)
    for (const asked of [token({}, basic(machine)), token({ client_id: id, client_secret: key, scope })]) {
      const [status, body, headers] = await asked
      expect([status, body]).toMatchObject([
        200,
        { token_type: 'Bearer', scope, expires_in: expect.any(Number) as number },
      ])
      expect(body).not.toHaveProperty('refresh_token')
      expect(headers.get('cache-control')).toBe('no-store')
      const claims = JSON.parse(
        Buffer.from(String(body['access_token']).split('.')[1] ?? '', 'base64url').toString(),
      ) as object
      expect(claims).toMatchObject({
        sub: id,
        client_id: id,
        tid: owner.tenantId,
        roles: [],
        permissions: [scope],
      })
    }
    const [, { items }] = await app.rpc('machines/list', {}, owner)
    expect(items).toMatchObject([{ id, prefix: key.slice(0, 10), lastUsedAt: expect.any(String) as string }])
    expect(JSON.stringify(items)).not.toContain(key)
  })

  it('is refused alike for a wrong key and an unknown id, and told what is wrong with the request', async () => {
    const owner = await app.signUp()
    const { id, key } = await add(owner)
    const other = await add(owner)
    const invalid = { error: 'invalid_client' }
    for (const wrong of [
      { id, key: other.key },
      { id: randomUUID(), key },
      { id: owner.id, key },
      { id: "' or true --", key },
      { id, key: '' },
      { id: '', key },
    ]) {
      const [status, body, headers] = await token({}, basic(wrong))
      expect([status, body, headers.get('www-authenticate')]).toEqual([
        401,
        invalid,
        expect.stringMatching(/^Basic /),
      ])
    }
    expect((await token({})).slice(0, 2)).toEqual([401, invalid])
    expect((await token({}, { authorization: 'Basic !' })).slice(0, 2)).toEqual([401, invalid])
    const both = await token({ client_id: id, client_secret: key }, basic({ id, key }))
    expect(both.slice(0, 2)).toEqual([400, { error: 'invalid_request' }])
    expect((await token(`client_id=${id}&client_id=${id}&client_secret=${key}`))[0]).toBe(400)
    for (const more of ['audit:read', `${scope} audit:read`, ''])
      expect((await token({ scope: more }, basic({ id, key }))).slice(0, 2)).toEqual([
        400,
        { error: 'invalid_scope' },
      ])
  })

  it('does nothing that signed-in users do, and is no owner', async () => {
    const owner = await app.signUp()
    const [, body] = await token({}, basic(await add(owner)))
    const by = { ...owner, accessToken: String(body['access_token']) }
    for (const name of [
      'account/me',
      'account/export',
      'account/sessions',
      'members/list',
      'machines/list',
      'platform/settings',
    ])
      expect([name, (await app.rpc(name, {}, by))[0]]).toEqual([name, 403])
  })

  it.each(['machines/remove', 'members/remove', 'members/setRoles', 'account/removeTenant'])(
    'ends at once, with its tokens, by %s',
    async (how) => {
      const owner = await app.signUp()
      const adder = await app.join(owner, guest(), ['owner'])
      const machine = await add(adder)
      const stays = await add(owner)
      const [, { access_token }] = await token({}, basic(machine))
      const [, others] = await token({}, basic(stays))
      const by = await app.signUp()
      const inputs: Record<string, object> = {
        'machines/remove': { id: machine.id },
        'members/remove': { user: adder.id },
        'members/setRoles': { user: adder.id, roles: ['member'] },
        'account/removeTenant': { password: 'correct horse battery' },
      }
      const isGone = async (text: unknown): Promise<boolean> => {
        const answer = await app.post('/rpc/account/me', {}, String(text))
        expect([401, 403]).toContain(answer.status)
        return answer.status === 401
      }
      expect([await isGone(access_token), (await introspect(by, access_token))['active']]).toEqual([
        false,
        false,
      ])
      expect((await introspect(owner, access_token))['active']).toBe(true)
      expect((await app.rpc(how, inputs[how], owner))[0]).toBe(200)
      expect(await isGone(access_token)).toBe(true)
      expect((await token({}, basic(machine)))[0]).toBe(401)
      expect(await isGone(others['access_token'])).toBe(how === 'account/removeTenant')
    },
  )

  it('is added, seen and removed by owners of its tenant alone, and its key is kept as a hash', async () => {
    const owner = await app.signUp()
    const [member, stranger] = [await app.join(owner, guest()), await app.signUp()]
    const { id, key } = await add(owner)
    for (const [name, input] of [
      ['add', { name: 'x', scopes: [scope] }],
      ['list', {}],
      ['remove', { id }],
    ] as const) {
      expect((await app.rpc(`machines/${name}`, input, member))[0]).toBe(403)
      expect((await app.rpc(`machines/${name}`, input))[0]).toBe(401)
    }
    expect(await app.rpc('machines/remove', { id }, stranger)).toMatchObject([
      404,
      { code: 'ERR_ACCOUNT_NO_MACHINE' },
    ])
    expect(await app.rpc('machines/list', {}, stranger)).toEqual([200, { items: [] }])
    for (const scopes of [[], ['all'], [scope, scope], ['owner']])
      expect((await app.rpc('machines/add', { name: 'x', scopes }, owner))[0]).toBe(400)
    const { rows } = await app.database.systemPool.query(
      'select m::text as row from machines m where id = $1',
      [id],
    )
    expect(JSON.stringify(rows)).not.toContain(key)
    await app.database.systemPool.query(
      "update machines set expires_at = now() - interval '1 s' where id = $1",
      [id],
    )
    expect((await token({}, basic({ id, key })))[0]).toBe(401)
  })
})
