import { describe, expect, it } from 'vitest'
import { procedure, QuintetError, service } from '@quintet/core'
import { math, serve } from '../support/serve.ts'

describe('POST /rpc/<service>/<procedure>', () => {
  it('answers with the JSON of the result, and with 204 for none', async () => {
    await using app = await serve()
    const answer = await app.post('/rpc/math/add', { a: 1, b: 2 }, { 'x-request-id': 'my-id' })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-type')).toBe('application/json')
    expect(answer.headers.get('x-request-id')).toBe('my-id')
    expect(await answer.json()).toEqual({ sum: 3 })
    expect((await app.post('/rpc/math/nothing')).status).toBe(204)
  })

  it('makes a request id of its own when the given one is not fit to be logged', async () => {
    await using app = await serve()
    const answer = await app.post('/rpc/math/nothing', undefined, { 'x-request-id': 'a b\t"' })
    expect(answer.headers.get('x-request-id')).toMatch(/^[\da-f-]{36}$/)
  })

  it.each([
    ['is not JSON', '{"a":'],
    ['nests too deep', '['.repeat(65) + ']'.repeat(65)],
    ['gives a member twice', '{"a":1,"b":2,"a":3}'],
    ['has a member __proto__', '{"a":1,"b":2,"__proto__":{"x":1}}'],
    ['has an escaped member __proto__', '{"a":1,"b":2,"__\\u0070roto__":{"x":1}}'],
  ])('refuses a body that %s', async (_what, body) => {
    await using app = await serve()
    const answer = await app.post('/rpc/math/add', body)
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({
      code: 'ERR_SERVER_BODY_INVALID',
      kind: 'invalid-input',
      status: 400,
    })
  })

  it('takes strings that look like structure', async () => {
    await using app = await serve()
    const input = { 'a:{[': '"\\":{', 'b\\"': ['\\\\', ':'] }
    expect(await (await app.post('/rpc/math/echo', input)).json()).toEqual(input)
  })

  it('refuses bytes that are not UTF-8', async () => {
    await using app = await serve()
    const answer = await fetch(`${app.url}/rpc/math/add`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
    })
    expect(answer.status).toBe(400)
  })

  it.each(['text/plain', 'application/json; charset=latin1', 'multipart/form-data', 'application/jsonx'])(
    'refuses the content type %s with 415',
    async (type) => {
      await using app = await serve()
      const answer = await app.post('/rpc/math/add', { a: 1, b: 2 }, { 'content-type': type })
      expect(answer.status).toBe(415)
    },
  )

  it('takes JSON that says it is UTF-8, and refuses a compressed body', async () => {
    await using app = await serve()
    const type = 'application/json; charset=UTF-8'
    expect((await app.post('/rpc/math/add', { a: 1, b: 2 }, { 'content-type': type })).status).toBe(200)
    expect((await app.post('/rpc/math/add', { a: 1, b: 2 }, { 'content-encoding': 'gzip' })).status).toBe(415)
  })

  it('answers other methods with 405 and Allow, and unknown procedures with 404', async () => {
    await using app = await serve()
    const answer = await fetch(`${app.url}/rpc/math/add`)
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST'])
    expect((await app.post('/rpc/math/nope')).status).toBe(404)
    expect((await app.post('/rpc/math/add/')).status).toBe(404)
    expect((await app.post('/rpc/math.add')).status).toBe(404)
  })

  it('answers 401 with a Bearer challenge, which names an error only to who gave a token', async () => {
    await using app = await serve()
    const none = await app.post('/rpc/math/mine')
    expect([none.status, none.headers.get('www-authenticate')]).toEqual([401, 'Bearer'])
    const bad = await app.post('/rpc/math/mine', undefined, { authorization: 'Bearer nonsense' })
    expect(bad.status).toBe(401)
    expect(bad.headers.get('www-authenticate')).toMatch(/^Bearer error="invalid_token"/)
    expect(
      await (await app.post('/rpc/math/mine', undefined, { authorization: 'bearer alice' })).json(),
    ).toBe('alice')
  })

  it.each([
    ['Bearer', 400],
    ['Bearer a b', 400],
    ['Bearer "x"', 400],
    ['DPoP alice', 400],
    ['Basic YTpi', 401],
  ])('answers the authorization %s with %i', async (authorization, status) => {
    await using app = await serve()
    expect((await app.post('/rpc/math/mine', undefined, { authorization })).status).toBe(status)
  })

  it('leaves Basic to a public operation, which is called by no one then', async () => {
    await using app = await serve()
    const answer = await app.post('/rpc/math/add', { a: 1, b: 2 }, { authorization: 'Basic YTpi' })
    expect(answer.status).toBe(200)
  })

  it('hands a DPoP proof on with the method and the URL', async () => {
    await using app = await serve()
    const answer = await app.post('/rpc/math/mine?x=1', undefined, {
      authorization: 'DPoP alice',
      dpop: 'a.b.c',
    })
    expect(await answer.json()).toBe('alice')
  })

  it('refuses a deadline that is none, and holds one that is', async () => {
    await using app = await serve()
    expect((await app.post('/rpc/math/nothing', undefined, { 'x-deadline-ms': 'soon' })).status).toBe(400)
    const late = await app.post('/rpc/math/nothing', undefined, { 'x-deadline-ms': '0' })
    expect(late.status).toBe(504)
  })

  it('hands the trace and the request id to the handler', async () => {
    const seen: unknown[] = []
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    await using app = await serve(
      {},
      {
        wrappers: [
          (invocation, next) => {
            seen.push(invocation.requestId, invocation.traceparent)
            return next()
          },
        ],
      },
    )
    await app.post('/rpc/math/nothing', undefined, { traceparent, 'x-request-id': 'r1' })
    await app.post('/rpc/math/nothing', undefined, { traceparent: '00-xyz', 'x-request-id': 'r2' })
    expect(seen).toEqual(['r1', traceparent, 'r2', undefined])
  })

  it('maps each kind of error to one status, with Retry-After where waiting helps', async () => {
    const kinds = {
      conflict: 409,
      'rate-limited': 429,
      unavailable: 503,
      closed: 503,
      unsupported: 501,
      timeout: 504,
      canceled: 499,
      'too-large': 413,
      forbidden: 403,
      internal: 500,
    } as const
    const failing = service(
      'failing',
      Object.fromEntries(
        Object.keys(kinds).map((kind) => [
          kind,
          procedure({ access: 'public' }, (): void => {
            throw new QuintetError(`This is ${kind}.`, {
              code: 'ERR_TEST',
              kind: kind as keyof typeof kinds,
              details: { x: 1 },
              ...(kind === 'rate-limited' ? { retryAfter: 2_500 } : {}),
            })
          }),
        ]),
      ),
    )
    await using app = await serve({}, { services: [failing] })
    for (const [kind, status] of Object.entries(kinds)) {
      const answer = await app.post(`/rpc/failing/${kind}`)
      expect([kind, answer.status]).toEqual([kind, status])
      expect(answer.headers.get('content-type')).toBe('application/problem+json')
      const problem: unknown = await answer.json()
      if (kind === 'internal') {
        expect(problem).toMatchObject({ code: 'ERR_CORE_INTERNAL', detail: 'Something failed on our side.' })
        expect(problem).not.toHaveProperty('details')
      } else
        expect(problem).toMatchObject({
          kind,
          code: 'ERR_TEST',
          detail: `This is ${kind}.`,
          details: { x: 1 },
        })
      const wait = { 'rate-limited': '3', unavailable: '1', closed: '1' }[kind]
      expect(answer.headers.get('retry-after')).toBe(wait ?? null)
    }
  })
})

describe('POST /rpc', () => {
  it('refuses in a batch only the call that has no id, an id of another or a result that is no JSON', async () => {
    const odd = service('odd', { big: procedure({ access: 'public' }, () => 1n) })
    await using app = await serve({}, { services: [math, odd] })
    const method = 'math.nothing'
    const batch = [{ method }, 7, { id: {}, method }, { id: 1, method }, { id: 2, method }, { id: 2, method }]
    const answer = await app.post('/rpc', [...batch, { id: 3, method: 'odd.big' }])
    const refused = expect.objectContaining({ code: 'ERR_SERVER_BODY_INVALID', status: 400 }) as unknown
    const internal = expect.objectContaining({ status: 500 }) as unknown
    expect(await answer.json()).toEqual([
      { id: null, error: refused },
      { id: null, error: refused },
      { id: null, error: refused },
      { id: 1 },
      { id: 2, error: refused },
      { id: 2, error: refused },
      { id: 3, error: internal },
    ])
  })

  it('answers each call of a batch by its id, and one that fails does not stop the others', async () => {
    await using app = await serve()
    const answer = await app.post('/rpc', [
      { id: 1, method: 'math.add', input: { a: 1, b: 2 } },
      { id: 'two', method: 'math.mine' },
      { id: 3, method: 'math.count', input: { to: 1 } },
      { id: 4, method: 'math.nothing' },
    ])
    expect(answer.status).toBe(200)
    expect(await answer.json()).toEqual([
      { id: 1, output: { sum: 3 } },
      { id: 'two', error: expect.objectContaining({ status: 401 }) as unknown },
      { id: 3, error: expect.objectContaining({ code: 'ERR_SERVER_MODE_MISMATCH' }) as unknown },
      { id: 4 },
    ])
  })

  it.each([
    ['an object', {}, 400],
    ['nothing', undefined, 400],
    ['too many calls', Array.from({ length: 5 }, (_, id) => ({ id, method: 'math.nothing' })), 413],
    ['too many bytes', [{ id: 1, method: 'math.echo', input: { text: 'x'.repeat(5_000) } }], 413],
  ])('refuses %s', async (_what, body, status) => {
    await using app = await serve({ maxBatchCalls: 4, maxBatchSize: '4kb' })
    expect((await app.post('/rpc', body)).status).toBe(status)
  })

  it('holds each call to the size of its procedure', async () => {
    await using app = await serve()
    const input = { a: 1, b: 2, text: 'x'.repeat(70_000) }
    const answer = await app.post('/rpc', [{ id: 1, method: 'math.add', input }])
    expect(await answer.json()).toMatchObject([{ error: { status: 413 } }])
  })

  it('answers other methods with 405', async () => {
    await using app = await serve()
    expect((await fetch(`${app.url}/rpc`)).status).toBe(405)
  })
})
