import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { type BinaryClientLink, type ClientLink, procedure, QuintetError, service } from '@quintet/core'
import { createTestHost, testUser } from '@quintet/core/testing'
import { z } from 'zod'
import { createClient, httpLink, socketLink, type Client } from '../../src/client.ts'
import { directLink } from '../../src/direct.ts'
import { websocket } from '../../src/index.ts'
import { math, serve } from '../support/serve.ts'

const objects = service('objects', {
  list: procedure(
    {
      access: 'public',
      input: z.object({ limit: z.number().default(10) }),
      output: z.array(z.object({ id: z.string(), at: z.coerce.date() })),
    },
    () => [],
  ),
  get: procedure({ access: 'public', input: z.string() }, ({ input }) => ({ id: input, size: 1 })),
  maybe: procedure({ access: 'public', input: z.object({ x: z.number() }).optional() }, () => true),
  ping: procedure({ access: 'public' }, () => 'pong' as const),
  watch: procedure({ access: 'public', stream: z.object({ id: z.number() }) }, async function* () {
    yield { id: 1 }
  }),
})

const given = {
  when: new Date(0),
  list: ['x', undefined],
  map: new Map([['a', 1]]),
  nested: { at: new Date(Number.NaN) as Date | null },
  run: (): number => 1,
}
const odd = service('odd', {
  give: procedure(
    { access: 'public' },
    (): {
      when: Date
      list: (string | undefined)[]
      map: Map<string, number>
      big: bigint
      nested?: { at: Date | null }
      run: () => number
    } => ({ ...given, big: 1n }),
  ),
  dates: procedure({ access: 'public' }, () => given),
  same: procedure({ access: 'public', input: z.any() }, ({ input }) => [
    typeof (input as { when: unknown }).when,
    input as unknown,
  ]),
  ticks: procedure({ access: 'public', stream: z.object({ at: z.date() }) }, async function* () {
    yield { at: new Date(0) }
  }),
  any: procedure({ access: 'public', input: z.any() }, () => {}),
  unknown: procedure({ access: 'public', input: z.unknown() }, () => {}),
  take: procedure(
    {
      access: 'public',
      input: z.object({ when: z.date(), maybe: z.union([z.date(), z.string()]).optional() }),
    },
    () => {},
  ),
  bytes: procedure({ access: 'public' }, () => ({ bytes: new Uint8Array([1]) })),
})

describe('the types of a client', () => {
  type Objects = Client<typeof objects>['objects']

  it('are those of what is sent and what is received', () => {
    expectTypeOf<Parameters<Objects['list']>[0]>().toEqualTypeOf<{ limit?: number | undefined }>()
    expectTypeOf<ReturnType<Objects['list']>>().toEqualTypeOf<Promise<{ id: string; at: string }[]>>()
    expectTypeOf<ReturnType<Objects['get']>>().toEqualTypeOf<Promise<{ id: string; size: number }>>()
    expectTypeOf<ReturnType<Objects['ping']>>().toEqualTypeOf<Promise<'pong'>>()
    expectTypeOf<ReturnType<Objects['watch']>>().toEqualTypeOf<AsyncIterable<{ id: number }>>()
    expectTypeOf<ReturnType<Objects['get']>>().not.toBeAny()
  })

  it('ask for an input where there is one', () => {
    const client = createClient<typeof objects>(directLink(createTestHost({ services: [objects] })))
    const calls = (): unknown[] => [
      client.objects.ping(),
      client.objects.ping(undefined, { deadline: 1 }),
      client.objects.maybe(),
      // @ts-expect-error the input is missing
      client.objects.get(),
      // @ts-expect-error the input is of another type
      client.objects.get(7),
      // @ts-expect-error there is no such procedure
      client.objects.remove,
      // @ts-expect-error there is no such service
      client.accounts,
    ]
    expect(calls).toBeTypeOf('function')
  })

  it('are what JSON makes of those of the handlers', () => {
    type Odd = Client<typeof odd>['odd']
    expectTypeOf<Awaited<ReturnType<Odd['give']>>>().toEqualTypeOf<{
      when: string
      list: (string | null)[]
      map: Record<string, never>
      big: never
      nested?: { at: string | null }
    }>()
    expectTypeOf<ReturnType<Odd['ticks']>>().toEqualTypeOf<AsyncIterable<{ at: string }>>()
    expectTypeOf<Parameters<Odd['any']>[0]>().toBeUnknown()
    expectTypeOf<Parameters<Odd['unknown']>[0]>().toBeUnknown()
    expectTypeOf<Parameters<Odd['take']>[0]>().toEqualTypeOf<{ when: never; maybe?: string | undefined }>()
    expectTypeOf<Awaited<ReturnType<Odd['bytes']>>>().toEqualTypeOf<{ bytes: Record<string, number> }>()
    type Sibling = Client<typeof odd, Uint8Array>['odd']
    expectTypeOf<Awaited<ReturnType<Sibling['bytes']>>>().toEqualTypeOf<{ bytes: Uint8Array<ArrayBuffer> }>()
    expectTypeOf(createClient<typeof odd>({} as BinaryClientLink)).toEqualTypeOf<
      Client<typeof odd, Uint8Array>
    >()
  })

  it('join several services', () => {
    expectTypeOf<keyof Client<typeof objects | typeof math>>().toEqualTypeOf<'objects' | 'math'>()
  })
})

describe('createClient', () => {
  it('makes something that can be awaited, inspected and serialised without a call', async () => {
    const called: string[] = []
    const link: ClientLink = {
      call: (method) => Promise.resolve(called.push(method)),
      stream: () => {
        throw new Error('not called')
      },
    }
    const client = createClient<typeof math>(link)
    expect(await Promise.resolve(client)).toBe(client)
    expect(await Promise.resolve(client.math)).toBe(client.math)
    expect(JSON.stringify({ client })).toBe('{"client":{}}')
    expect(client.math.add).toBe(client.math.add)
    expect(called).toEqual([])
  })

  it('calls without being awaited', async () => {
    await using host = createTestHost({ services: [math], tokens: { alice: testUser() } })
    const seen: string[] = []
    host.pipeline.addObserver({ onSettled: ({ operation }) => seen.push(operation.name) })
    const client = createClient<typeof math>(directLink(host, { token: 'alice' }))
    void client.math.nothing()
    await new Promise((resolve) => setImmediate(resolve))
    expect(seen).toEqual(['math.nothing'])
  })

  it('says so when a value is iterated over', async () => {
    await using host = createTestHost({ services: [math] })
    const client = createClient<typeof math>(directLink(host))
    const value = client.math.nothing() as unknown as AsyncIterable<unknown>
    await new Promise((resolve) => setImmediate(resolve))
    await expect(value[Symbol.asyncIterator]().next()).rejects.toThrow(/await it instead/)
  })
})

describe('directLink', () => {
  it('gives and takes what JSON makes of a value, as every other link does', async () => {
    await using host = createTestHost({ services: [odd] })
    const client = createClient<typeof odd>(directLink(host))
    const wire = { when: '1970-01-01T00:00:00.000Z', list: ['x', null], map: {}, nested: { at: null } }
    expect(await client.odd.dates()).toEqual(wire)
    expect(await client.odd.same(given)).toEqual(['string', wire])
    expect(await Array.fromAsync(client.odd.ticks())).toEqual([{ at: wire.when }])
    expect(await client.odd.bytes()).toEqual({ bytes: { 0: 1 } })
    await expect(client.odd.any({ big: 1n })).rejects.toMatchObject({ code: 'ERR_SERVER_BODY_INVALID' })
  })

  it('calls with a token, as a principal, or as nobody, and refuses both at once', async () => {
    await using host = createTestHost({ services: [math], tokens: { alice: testUser({ userId: 'alice' }) } })
    const mine = (link: ClientLink): Promise<unknown> => link.call('math.mine', undefined)
    expect(await mine(directLink(host, { token: () => 'alice' }))).toBe('alice')
    expect(await mine(directLink(host, { principal: testUser({ userId: 'bob' }) }))).toBe('bob')
    await expect(mine(directLink(host))).rejects.toMatchObject({ kind: 'unauthenticated' })
    expect(() => directLink(host, { token: 'x', principal: testUser() })).toThrow(/not both/)
    expect(() => directLink(host, { tokn: 'x' } as object)).toThrow(/Did you mean "token"/)
  })
})

describe('httpLink', () => {
  it('gives the error that the server threw', async () => {
    await using app = await serve()
    const link = httpLink({ url: `${app.url}/`, token: 'nobody' })
    const error: unknown = await link.call('math.mine', undefined).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(QuintetError)
    expect(error).toMatchObject({
      kind: 'unauthenticated',
      code: 'ERR_CORE_UNAUTHENTICATED',
      details: { reason: 'unknown' },
    })
    // On a public procedure a token that is not known counts as none.
    await expect(link.call('math.add', { a: 'x' })).rejects.toMatchObject({ kind: 'invalid-input' })
    await expect(httpLink({ url: app.url }).call('math.add', { a: 'x', b: 1 })).rejects.toMatchObject({
      kind: 'invalid-input',
      details: { issues: [{ pointer: '/a' }] },
    })
  })

  it('asks for the token before each call', async () => {
    await using app = await serve()
    const tokens = ['nobody', 'alice']
    const link = httpLink({ url: app.url, token: () => Promise.resolve(tokens.shift()) })
    await expect(link.call('math.mine', undefined)).rejects.toMatchObject({ kind: 'unauthenticated' })
    expect(await link.call('math.mine', undefined)).toBe('alice')
  })

  it('refuses options that are none', () => {
    expect(() => httpLink({ url: 'not a url' })).toThrow(/is not a URL/)
    expect(() => httpLink({ url: 'http://a', timeot: 1 } as never)).toThrow(/Did you mean "timeout"/)
  })

  it('uses the fetch that it is given, and tells the server how long it waits', async () => {
    const seen: (string | null)[] = []
    const fake: typeof fetch = (url, init) => {
      seen.push(url as string, new Headers(init?.headers).get('x-timeout-ms'))
      return Promise.resolve(Response.json('ok'))
    }
    const link = httpLink({ url: 'http://a.example/api', fetch: fake, timeout: '5s' })
    expect(await link.call('math.add', {})).toBe('ok')
    expect(seen).toEqual(['http://a.example/api/rpc/math/add', '5000'])
  })

  const stub = async (
    respond: Parameters<typeof createServer>[1],
  ): Promise<{ server: Server; url: string }> => {
    const server = createServer(respond)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    return { server, url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}` }
  }

  it.each([
    ['a proxy that has no upstream', 502, 'text/html', '<html>', 'unavailable'],
    ['a proxy that is too slow', 504, 'text/plain', '', 'timeout'],
    ['something else', 404, 'text/html', '<html>', 'not-found'],
    ['a page instead of JSON', 200, 'text/html', '<html>', 'unavailable'],
    ['a teapot', 418, 'text/html', '', 'invalid-input'],
  ])('gives a typed error for %s', async (_what, status, type, body, kind) => {
    const { server, url } = await stub((_request, response) =>
      response.writeHead(status, { 'content-type': type }).end(body),
    )
    await expect(httpLink({ url }).call('a.b', undefined)).rejects.toMatchObject({
      kind,
      code: 'ERR_SERVER_RESPONSE_INVALID',
    })
    server.closeAllConnections()
    server.close()
  })

  it.each([
    ['a token that does not come', { token: () => new Promise<string>(() => {}) }],
    ['a fetch that does not listen', { fetch: () => new Promise<Response>(() => {}) }],
    ['a body that does not come', { fetch: async () => new Response(new ReadableStream()) }],
    [
      'a problem that does not come',
      { fetch: async () => new Response(new ReadableStream(), { status: 500 }) },
    ],
  ])('waits no longer than its timeout, its caller and the deadline: %s', async (_what, options) => {
    const url = 'http://127.0.0.1:9'
    const late = { kind: 'timeout' }
    const limited = httpLink({ url, ...options, timeout: 30 })
    await expect(limited.call('a.b', undefined)).rejects.toMatchObject(late)
    await expect(limited.stream('a.b', undefined)[Symbol.asyncIterator]().next()).rejects.toMatchObject(late)
    const patient = httpLink({ url, ...options, timeout: 0 })
    await expect(patient.call('a.b', undefined, { deadline: Date.now() + 30 })).rejects.toMatchObject(late)
    const signal = AbortSignal.abort(new Error('enough'))
    await expect(patient.call('a.b', undefined, { signal })).rejects.toThrow('enough')
  })

  it('says why there is no token, and does not take that for a server that is away', async () => {
    const vault = new Error('The vault is sealed.')
    const url = 'http://127.0.0.1:9'
    const failed = { code: 'ERR_SERVER_TOKEN_FAILED', kind: 'unauthenticated' }
    const fails = httpLink({
      url,
      token: () => {
        throw vault
      },
    })
    await expect(fails.call('a.b', undefined)).rejects.toMatchObject({ ...failed, cause: vault })
    await expect(httpLink({ url, token: 'a\nb' }).call('a.b', undefined)).rejects.toMatchObject(failed)
    const ours = new QuintetError('Wait.', { code: 'ERR_TEST', kind: 'rate-limited' })
    const busy = httpLink({ url, token: () => Promise.reject(ours) })
    await expect(busy.call('a.b', undefined)).rejects.toBe(ours)
  })

  it('says that there is no server, that it took too long, or why its caller gave up', async () => {
    const { server, url } = await stub(() => {})
    const controller = new AbortController()
    const link = httpLink({ url, timeout: 50 })
    await expect(link.call('a.b', undefined)).rejects.toMatchObject({ kind: 'timeout' })
    await expect(link.stream('a.b', undefined)[Symbol.asyncIterator]().next()).rejects.toMatchObject({
      kind: 'timeout',
    })
    const patient = httpLink({ url, timeout: 0 })
    await expect(patient.call('a.b', undefined, { deadline: Date.now() + 30 })).rejects.toMatchObject({
      kind: 'timeout',
    })
    const call = patient.call('a.b', undefined, { signal: controller.signal })
    controller.abort(new Error('enough'))
    await expect(call).rejects.toThrow('enough')
    server.closeAllConnections()
    server.close()
    await expect(link.call('a.b', undefined)).rejects.toMatchObject({
      code: 'ERR_SERVER_CONNECT_FAILED',
      kind: 'unavailable',
    })
  })

  it('refuses an event of a stream that is too large', async () => {
    await using app = await serve({}, { services: [odd] })
    const link = httpLink({ url: app.url, maxEventSize: 20 })
    await expect(Array.fromAsync(link.stream('odd.ticks', undefined))).rejects.toMatchObject({
      code: 'ERR_SERVER_TOO_LARGE',
    })
  })

  it('resumes a stream that breaks after its last event', async () => {
    const asked: (string | undefined)[] = []
    const { server, url } = await stub((request, response) => {
      const after = request.headers['last-event-id'] as string | undefined
      asked.push(after)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      const from = Number(after ?? 0) + 1
      for (let id = from; id < from + 2; id++)
        response.write(`id: ${String(id)}\ndata: {"id":${String(id)}}\n\n`)
      if (from < 5) setImmediate(() => response.destroy())
      else response.end('event: end\ndata:\n\n')
    })
    const client = createClient<typeof math>(httpLink({ url }))
    const seen: number[] = []
    for await (const { id } of client.math.count({ to: 6 })) seen.push(id)
    expect(seen).toEqual([1, 2, 3, 4, 5, 6])
    expect(asked).toEqual([undefined, '2', '4'])
    server.closeAllConnections()
    server.close()
  })

  it('ends a stream whose events have no ids with the error', async () => {
    const { server, url } = await stub((_request, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write(': comment\r\ndata: {"text":\r\ndata: "two lines"}\r\n\r\n')
      setImmediate(() => response.destroy())
    })
    const events = httpLink({ url }).stream('a.b', undefined)[Symbol.asyncIterator]()
    expect(await events.next()).toMatchObject({ value: { text: 'two lines' } })
    await expect(events.next()).rejects.toMatchObject({ kind: 'unavailable' })
    server.closeAllConnections()
    server.close()
  })
})

describe('socketLink', () => {
  it('asks for the token before each connection, and makes it with the WebSocket that it is given', async () => {
    await using host = createTestHost({ services: [math], tokens: { alice: testUser({ userId: 'alice' }) } })
    const running = await websocket().start(host)
    const made: string[] = []
    class Counted extends WebSocket {
      constructor(...how: ConstructorParameters<typeof WebSocket>) {
        super(...how)
        made.push(String(how[0]))
      }
    }
    const tokens = ['nobody', 'alice']
    const link = socketLink({
      url: running.url ?? '',
      token: () => Promise.resolve(tokens.shift()),
      WebSocket: Counted,
    })
    await expect(link.call('math.mine', undefined)).rejects.toMatchObject({ kind: 'unavailable' })
    expect(await link.call('math.mine', undefined)).toBe('alice')
    expect(await link.call('math.mine', undefined)).toBe('alice')
    expect(made).toEqual([running.url, running.url])
    await link[Symbol.asyncDispose]()
    await running.close()
  })

  it('waits no longer than its timeout, and refuses options that are none', async () => {
    const forever = service('forever', {
      wait: procedure({ access: 'public' }, () => new Promise<void>(() => {})),
    })
    await using host = createTestHost({ services: [forever] })
    const running = await websocket({ access: 'public' }).start(host)
    const link = socketLink({ url: running.url ?? '', timeout: 50 })
    await expect(link.call('forever.wait', undefined)).rejects.toMatchObject({ kind: 'timeout' })
    expect(() => socketLink({ url: 'ws://a', timeot: 1 } as never)).toThrow(/Did you mean "timeout"/)
    await link[Symbol.asyncDispose]()
    await running.close()
  })
})

describe('a stream over HTTP', () => {
  it('carries ids, resumes after the given one, and tells the handler when its reader leaves', async () => {
    const left = Promise.withResolvers<void>()
    const endless = service('endless', {
      ticks: procedure(
        { access: 'public', stream: z.object({ id: z.string() }) },
        async function* ({ signal }) {
          try {
            for (let id = 0; !signal.aborted; id++) {
              yield { id: String(id) }
              await new Promise((resolve) => setImmediate(resolve))
            }
          } finally {
            left.resolve()
          }
        },
      ),
      breaks: procedure({ access: 'public', stream: z.object({ text: z.string() }) }, async function* () {
        yield { text: 'one' }
        throw new QuintetError('No more.', { code: 'ERR_TEST', kind: 'conflict' })
      }),
      quiet: procedure({ access: 'public', stream: z.string() }, async function* ({ signal }) {
        await new Promise((resolve) => signal.addEventListener('abort', resolve))
        yield 'late'
      }),
    })
    await using app = await serve({}, { services: [math, endless] })
    const text = await (await app.post('/rpc/math/count', { to: 3 }, { 'last-event-id': '1' })).text()
    expect(text).toBe('id: 2\ndata: {"id":2}\n\nid: 3\ndata: {"id":3}\n\nevent: end\ndata:\n\n')

    const client = createClient<typeof endless>(httpLink({ url: app.url }))
    for await (const { id } of client.endless.ticks()) if (id === '3') break
    await left.promise

    const seen: unknown[] = []
    const broken = async (): Promise<void> => {
      for await (const event of client.endless.breaks()) seen.push(event)
    }
    await expect(broken()).rejects.toMatchObject({ code: 'ERR_TEST', kind: 'conflict' })
    expect(seen).toEqual([{ text: 'one' }])

    // The head is there before the first event.
    const quiet = await app.post('/rpc/endless/quiet')
    expect(quiet.headers.get('content-type')).toBe('text/event-stream')
    const drained = app.running.drain('deployment', AbortSignal.timeout(5_000))
    expect(await quiet.text()).toContain('"kind":"closed"')
    await drained
  })

  it('that is refused is a plain problem', async () => {
    await using app = await serve()
    const answer = await app.post('/rpc/math/count', { to: 'x' })
    expect([answer.status, answer.headers.get('content-type')]).toEqual([400, 'application/problem+json'])
  })
})
