import { once } from 'node:events'
import { request as httpRequest } from 'node:http'
import { connect } from 'node:net'
import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { describe, expect, it } from 'vitest'
import { type QuintetError, route, type Route, type RouteContext } from '@quintet/core'
import { jsonAnswer, sendRaw, until } from '../support/raw.ts'
import { serve } from '../support/serve.ts'

type Handler = (
  request: Request,
  context: RouteContext<unknown>,
) => Response | null | Promise<Response | null>

const get = (pattern: string, handler: Handler): Route =>
  route({ method: 'GET', pattern, access: 'public', handler })

/** A body of `size` bytes that comes piece by piece. */
function bytes(size: number, onPull?: () => void): ReadableStream<Uint8Array> {
  let left = size
  return new ReadableStream({
    pull(controller) {
      onPull?.()
      const piece = Math.min(left, 64 * 1024)
      left -= piece
      if (piece > 0) controller.enqueue(new Uint8Array(piece))
      if (left === 0) controller.close()
    },
  })
}

async function countBytes(body: ReadableStream<Uint8Array> | null): Promise<number> {
  let size = 0
  for await (const piece of body ?? []) size += piece.length
  return size
}

describe('a route', () => {
  it('gets its parameters decoded, the rest of a wildcard, and the caller', async () => {
    const routes = [
      get('/objects/:id', (_request, { params }) => Response.json(params)),
      get('/render/:kind/*', (request, { params }) =>
        Response.json({ ...params, url: new URL(request.url).pathname }),
      ),
      route({
        method: 'POST',
        pattern: '/who',
        access: 'authenticated',
        handler: async (request, { principal }) => Response.json([principal.userId, await request.json()]),
      }),
    ]
    await using app = await serve({}, { routes })
    expect(await (await fetch(`${app.url}/objects/a%20b%2Fc`)).json()).toEqual({ id: 'a b/c' })
    expect(await (await fetch(`${app.url}/render/image/x/y.png?w=1`)).json()).toEqual({
      kind: 'image',
      '*': 'x/y.png',
      url: '/render/image/x/y.png',
    })
    expect((await app.post('/who', { a: 1 })).status).toBe(401)
    const answer = await app.post('/who', { a: 1 }, { authorization: 'Bearer nobody' })
    expect(answer.status).toBe(401)
  })

  it('that answers null leaves the request to the next one, and the last to 404', async () => {
    const routes = [
      get('/a/*', () => null),
      get('/a/b', () => new Response('second')),
      get('/a/c', () => null),
    ]
    await using app = await serve({}, { routes })
    expect(await (await fetch(`${app.url}/a/b`)).text()).toBe('second')
    const missing = await fetch(`${app.url}/a/c`)
    expect(missing.status).toBe(404)
    expect(await missing.json()).toMatchObject({ code: 'ERR_SERVER_NOT_FOUND' })
  })

  it('is asked for by its own method; others get 405 with Allow, and HEAD goes to GET', async () => {
    const routes = [
      get('/a', () => new Response('text')),
      route({ method: 'PUT', pattern: '/a', access: 'public', handler: () => new Response() }),
    ]
    await using app = await serve({}, { routes })
    const refused = await fetch(`${app.url}/a`, { method: 'DELETE' })
    expect([refused.status, refused.headers.get('allow')]).toEqual([405, 'GET, PUT, HEAD'])
    const head = await fetch(`${app.url}/a`, { method: 'HEAD' })
    expect([head.status, await head.text()]).toEqual([200, ''])
  })

  it('that lies under /rpc is refused when the transport starts', async () => {
    await expect(serve({}, { routes: [get('/rpc/x', () => null)] })).rejects.toThrow(/belong to procedures/)
  })

  it('gets a request with everything that a standard one has', async () => {
    const seen: unknown[] = []
    const routes = [
      route({
        method: 'POST',
        pattern: '/all',
        access: 'public',
        handler: async (request) => {
          const standard = new Request('http://a', { method: 'POST', body: 'x' })
          for (const name of Object.getOwnPropertyNames(Request.prototype)) {
            const [ours, theirs] = [request, standard].map((each) => typeof Reflect.get(each, name))
            if (name !== 'constructor') expect([name, ours]).toEqual([name, theirs])
          }
          seen.push(request instanceof Request, await request.clone().text(), await request.bytes())
          return new Response(null, { status: 204 })
        },
      }),
    ]
    await using app = await serve({}, { routes })
    expect((await app.post('/all', 'hello')).status).toBe(204)
    expect(seen).toEqual([true, 'hello', new TextEncoder().encode('hello')])
  })

  it('leaves the global Request alone unless it is asked to adopt', async () => {
    const own = globalThis.Request
    const handler = (request: Request): Response => {
      try {
        return Response.json(new Request(request).method)
      } catch (error) {
        return Response.json((error as Error).name)
      }
    }
    const routes = [route({ method: 'GET', pattern: '/copy', access: 'public', handler })]
    {
      await using app = await serve({}, { routes })
      expect(await (await fetch(`${app.url}/copy`)).json()).toBe('TypeError')
      expect(globalThis.Request).toBe(own)
    }
    await using app = await serve({ adoptRequests: true }, { routes })
    expect(await (await fetch(`${app.url}/copy`)).json()).toBe('GET')
    globalThis.Request = own
  })

  const readers: Record<string, (request: Request) => Promise<unknown> | undefined> = {
    'text()': (request) => request.text(),
    'json()': async (request) => JSON.stringify(await request.json()),
    'bytes()': async (request) => new TextDecoder().decode(await request.bytes()),
    'arrayBuffer()': async (request) => new TextDecoder().decode(await request.arrayBuffer()),
    'blob()': async (request) => (await request.blob()).text(),
    'a clone': (request) => request.clone().text(),
    'both of a clone': async (request) => {
      const copy = request.clone()
      const [one, two] = await Promise.all([request.text(), copy.text()])
      return one === two && one
    },
    'new Request(request)': (request) => new Request(request).text(),
    'fetch of a new one': async (request) => {
      const target = new URL('/fetched', request.url)
      return (await fetch(new Request(target, request))).text()
    },
    'another body': (request) => new Request(request, { method: 'POST', body: '{"a":1}' }).text(),
  }
  describe.each([true, false])('whose body was looked at before: %s', (lookedAt) => {
    it.each(Object.entries(readers))('gives it to %s', async (_name, read) => {
      const routes = [
        route({
          method: 'POST',
          pattern: '/read',
          access: 'public',
          handler: async (request) => {
            if (lookedAt && request.body === null) return new Response('no body')
            return new Response((await read(request)) as string)
          },
        }),
        route({
          method: 'POST',
          pattern: '/fetched',
          access: 'public',
          handler: async (request) => new Response(await request.text()),
        }),
      ]
      await using app = await serve({ requestTimeout: '2s', adoptRequests: true }, { routes })
      expect(await (await app.post('/read', '{"a":1}')).text()).toBe('{"a":1}')
    })
  })

  it('refuses to read a body twice, as the standard says', async () => {
    const outcomes: unknown[] = []
    const handler = async (request: Request): Promise<Response> => {
      if (new URL(request.url).searchParams.has('stream')) void request.body
      outcomes.push(request.bodyUsed)
      await request.text()
      outcomes.push(request.bodyUsed)
      for (const read of [
        () => request.json(),
        async () => new Request(request),
        async () => request.clone(),
      ]) {
        outcomes.push(await read().catch((error: unknown) => (error as Error).name))
      }
      return new Response(null)
    }
    const routes = [route({ method: 'POST', pattern: '/twice', access: 'public', handler })]
    await using app = await serve({ adoptRequests: true }, { routes })
    await app.post('/twice', 'x')
    await app.post('/twice?stream', 'x')
    const once = [false, true, 'TypeError', 'TypeError', 'TypeError']
    expect(outcomes).toEqual([...once, ...once])
  })

  it('can be given to new Request() where it has no body', async () => {
    const handler = (request: Request): Response => {
      const copy = new Request(request, { headers: { 'x-a': 'b' } })
      return Response.json([copy.url === request.url, copy.method, copy.headers.get('x-a'), copy.body])
    }
    const routes = [route({ method: 'GET', pattern: '/copy', access: 'public', handler })]
    await using app = await serve({ adoptRequests: true }, { routes })
    expect(await (await fetch(`${app.url}/copy`)).json()).toEqual([true, 'GET', 'b', null])
  })

  it("lets Hono's middleware limit a body, sent whole or in pieces", async () => {
    const hono = new Hono().post('/limited', bodyLimit({ maxSize: 10 }), async (context) =>
      context.text(await context.req.text()),
    )
    const routes = [
      route({
        method: 'POST',
        pattern: '/limited',
        access: 'public',
        handler: (request) => hono.fetch(request),
      }),
    ]
    await using app = await serve({ requestTimeout: '2s', adoptRequests: true }, { routes })
    const pieces = (text: string): RequestInit & { duplex: 'half' } => ({
      method: 'POST',
      body: new Blob([text]).stream(),
      duplex: 'half',
    })
    for (const [text, status] of [
      ['short', 200],
      ['too long for it', 413],
    ] as const) {
      expect((await app.post('/limited', text)).status).toBe(status)
      expect((await fetch(`${app.url}/limited`, pieces(text))).status).toBe(status)
    }
  })

  it('can hand its request to a Hono app', async () => {
    const hono = new Hono().post('/hono/:name', async (context) => {
      const { x } = await context.req.json<{ x: number }>()
      return context.json({ name: context.req.param('name'), x }, 201, { 'x-hono': 'yes' })
    })
    const routes = [
      route({
        method: 'POST',
        pattern: '/hono/*',
        access: 'public',
        handler: (request) => hono.fetch(request),
      }),
    ]
    await using app = await serve({}, { routes })
    const answer = await app.post('/hono/ann', { x: 1 })
    expect([answer.status, answer.headers.get('x-hono')]).toEqual([201, 'yes'])
    expect(await answer.json()).toEqual({ name: 'ann', x: 1 })
  })

  it('that throws or answers with nonsense gives 500 without a word of why', async () => {
    const routes = [
      get('/throws', () => {
        throw new Error('hunter2')
      }),
      get('/nonsense', () => 7 as never),
    ]
    await using app = await serve({}, { routes })
    for (const path of ['/throws', '/nonsense']) {
      const answer = await fetch(`${app.url}${path}`)
      expect(answer.status).toBe(500)
      expect(await answer.text()).not.toContain('hunter2')
    }
  })

  it('streams a long body both ways, at the pace of the slower side', async () => {
    let pulls = 0
    const routes = [
      route({
        method: 'POST',
        pattern: '/count',
        access: 'public',
        handler: async ({ body }) => Response.json(await countBytes(body)),
      }),
      route({
        method: 'POST',
        pattern: '/echo',
        access: 'public',
        handler: ({ body }) => new Response(body),
      }),
      get('/endless', () => new Response(bytes(1024 ** 3, () => pulls++))),
    ]
    await using app = await serve({ maxRequestSize: '64mb' }, { routes })
    const size = 32 * 1024 * 1024
    const send = { method: 'POST', body: bytes(size), duplex: 'half' } as RequestInit
    expect(await (await fetch(`${app.url}/count`, send)).json()).toBe(size)
    expect(await countBytes((await fetch(`${app.url}/echo`, { ...send, body: bytes(size) })).body)).toBe(size)

    const socket = connect(Number(new URL(app.url).port))
    socket.pause()
    socket.write('GET /endless HTTP/1.1\r\nHost: a\r\n\r\n')
    await until(() => pulls > 10)
    let before = -1
    while (before !== pulls) {
      before = pulls
      await new Promise((resolve) => setTimeout(resolve, 50))
    }
    // A client that does not read is not sent a gigabyte.
    expect(pulls).toBeLessThan(1_000)
    socket.destroy()
  })

  it('holds a streamed body to its own limit, or to that of the transport', async () => {
    const count: Handler = async ({ body }) => Response.json(await countBytes(body))
    const routes = [
      route({ method: 'POST', pattern: '/own', access: 'public', maxRequestSize: '1kb', handler: count }),
      route({ method: 'POST', pattern: '/all', access: 'public', handler: count }),
    ]
    await using app = await serve({ maxRequestSize: '8kb' }, { routes })
    const send = (path: string, size: number): Promise<Response> =>
      fetch(`${app.url}${path}`, { method: 'POST', body: bytes(size), duplex: 'half' } as RequestInit)
    expect(await (await send('/own', 1_000)).json()).toBe(1_000)
    expect(await (await send('/all', 2_000)).json()).toBe(2_000)
    for (const [path, size] of [
      ['/own', 2_000],
      ['/all', 9_000],
    ] as const) {
      const declared = await fetch(`${app.url}${path}`, { method: 'POST', body: new Uint8Array(size) })
      expect(declared.status).toBe(413)
      const chunks = `${size.toString(16)}\r\n${'x'.repeat(size)}\r\n0\r\n\r\n`
      const answer = await sendRaw(
        app.url,
        `POST ${path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n${chunks}`,
        jsonAnswer,
      )
      expect(answer).toMatch(/^HTTP\/1\.1 413/)
    }
  })

  it('lets an upload take longer than the timeout as long as it makes progress', async () => {
    const routes = [
      route({
        method: 'POST',
        pattern: '/up',
        access: 'public',
        handler: async ({ body }) => Response.json(await countBytes(body)),
      }),
    ]
    await using app = await serve(
      { requestTimeout: 200, headersTimeout: 200, uploadProgressTimeout: 150, uploadPace: 0 },
      { routes },
    )
    const upload = httpRequest(`${app.url}/up`, { method: 'POST' })
    const answered = once(upload, 'response')
    for (let count = 0; count < 8; count++) {
      upload.write('x')
      await new Promise((resolve) => setTimeout(resolve, 60))
    }
    upload.end()
    const [response] = (await answered) as [import('node:http').IncomingMessage]
    expect(response.statusCode).toBe(200)
    response.resume()
  })

  it('takes an upload of more than 4 GiB, byte by byte counted, in little memory', async () => {
    const size = 4.5 * 1024 ** 3
    let counted = 0
    const routes = [
      route({
        method: 'POST',
        pattern: '/up',
        access: 'public',
        maxRequestSize: '10gb',
        handler: async ({ body }) => {
          for await (const piece of body ?? []) counted += (piece as Uint8Array).length
          return new Response(null, { status: 204 })
        },
      }),
    ]
    await using app = await serve({}, { routes })
    const socket = connect(Number(new URL(app.url).port), '127.0.0.1')
    const answered = once(socket, 'data')
    const piece = Buffer.alloc(1024 ** 2)
    const before = process.memoryUsage.rss()
    let most = 0
    socket.write(`POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: ${String(size)}\r\n\r\n`)
    for (let sent = 0; sent < size; sent += piece.length) {
      if (!socket.write(piece)) await once(socket, 'drain')
      most = Math.max(most, process.memoryUsage.rss())
    }
    expect(String((await answered)[0])).toMatch(/^HTTP\/1\.1 204 /)
    expect(counted).toBe(size)
    // Of both sides, for the client runs in this process too.
    expect(most - before).toBeLessThan(400 * 1024 ** 2)
    socket.destroy()
  }, 120_000)

  it('ends an upload that stands still with 408', async () => {
    let failure: unknown
    const routes = [
      route({
        method: 'POST',
        pattern: '/up',
        access: 'public',
        handler: async ({ body }, { signal }) => {
          signal.addEventListener('abort', () => (failure = signal.reason))
          return Response.json(await countBytes(body))
        },
      }),
    ]
    await using app = await serve({ uploadProgressTimeout: 100 }, { routes })
    const answer = await sendRaw(
      app.url,
      'POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc',
      jsonAnswer,
    )
    expect(answer).toMatch(/^HTTP\/1\.1 408/)
    expect(failure).toMatchObject({ code: 'ERR_SERVER_REQUEST_TIMEOUT' })
  })

  it('ends an upload that comes more slowly than it must, or takes too long, with 408', async () => {
    let handlers = 0
    const routes = [
      route({
        method: 'POST',
        pattern: '/up',
        access: 'public',
        timeout: 0,
        handler: async ({ body }) => {
          handlers++
          try {
            return Response.json(await countBytes(body))
          } finally {
            handlers--
          }
        },
      }),
    ]
    for (const options of [
      { uploadProgressTimeout: 400, uploadPace: '1kb' },
      { uploadTimeout: 400 },
    ] as const) {
      await using app = await serve(options, { routes })
      const upload = httpRequest(`${app.url}/up`, { method: 'POST' })
      upload.on('error', () => {})
      const trickle = setInterval(() => upload.write('x'), 40)
      try {
        const [response] = (await once(upload, 'response')) as [import('node:http').IncomingMessage]
        expect(response.statusCode).toBe(408)
        response.resume()
        // The place of the call is free though its client goes on sending.
        await expect.poll(() => handlers, { timeout: 5_000 }).toBe(0)
      } finally {
        clearInterval(trickle)
        upload.destroy()
      }
    }
  })

  it('ends an upload and a download when the session of their caller is revoked', async () => {
    const ended: unknown[] = []
    const routes = [
      route({
        method: 'POST',
        pattern: '/up',
        access: 'authenticated',
        timeout: 0,
        handler: async ({ body }) => {
          try {
            return Response.json(await countBytes(body))
          } catch (error) {
            ended.push(error)
            throw error
          }
        },
      }),
      route({
        method: 'GET',
        pattern: '/down',
        access: 'authenticated',
        timeout: 0,
        handler: () =>
          new Response(
            new ReadableStream({
              pull: async (controller) => {
                controller.enqueue(new Uint8Array(1_024))
                await new Promise((resolve) => setTimeout(resolve, 20))
              },
              cancel: (reason) => void ended.push(reason),
            }),
          ),
      }),
    ]
    await using app = await serve({}, { routes })
    const watched = app.host.auth.watch
    const principals = new Set<unknown>()
    app.host.auth.watch = (principal, onEnd) => {
      principals.add(principal)
      return watched?.call(app.host.auth, principal, onEnd) ?? { [Symbol.dispose]() {} }
    }
    const authorization = 'Bearer alice'
    const download = await fetch(`${app.url}/down`, { headers: { authorization } })
    const upload = httpRequest(`${app.url}/up`, { method: 'POST', headers: { authorization } })
    const answered = once(upload, 'response')
    upload.on('error', () => {})
    upload.write('x')
    await expect.poll(() => principals.size, { timeout: 5_000 }).toBe(2)
    app.host.auth.end('alice', 'revoked')
    const [response] = (await answered) as [import('node:http').IncomingMessage]
    expect(response.statusCode).toBe(401)
    response.resume()
    await expect(download.arrayBuffer()).rejects.toThrow()
    await expect.poll(() => ended.length, { timeout: 5_000 }).toBe(2)
    await expect.poll(() => app.host.pipeline.active, { timeout: 5_000 }).toBe(0)
  })

  it('that does not answer in time gives 504, by its own timeout or that of the transport', async () => {
    const reasons: unknown[] = []
    const wait: Handler = (_request, { signal }) =>
      new Promise((resolve) =>
        signal.addEventListener('abort', () => {
          reasons.push((signal.reason as QuintetError).kind)
          resolve(new Response('late'))
        }),
      )
    const routes = [
      route({ method: 'GET', pattern: '/own', access: 'public', timeout: 50, handler: wait }),
      get('/all', wait),
    ]
    await using app = await serve({ requestTimeout: 100, headersTimeout: 100 }, { routes })
    expect((await fetch(`${app.url}/own`)).status).toBe(504)
    expect((await fetch(`${app.url}/all`)).status).toBe(504)
    expect(reasons).toEqual(['timeout', 'timeout'])
  })

  it('learns when its client goes away', async () => {
    const gone = Promise.withResolvers<string>()
    const routes = [
      get('/wait', (request, { signal }) => {
        request.signal.addEventListener('abort', () => {})
        return new Promise((resolve) =>
          signal.addEventListener('abort', () => {
            gone.resolve((signal.reason as QuintetError).kind)
            resolve(new Response())
          }),
        )
      }),
    ]
    await using app = await serve({}, { routes })
    const controller = new AbortController()
    const answer = fetch(`${app.url}/wait`, { signal: controller.signal }).catch(() => {})
    await until(() => app.host.pipeline.active > 0)
    controller.abort()
    expect(await gone.promise).toBe('canceled')
    await answer
  })

  it('whose body breaks off ends the connection, so that half is not taken for whole', async () => {
    const routes = [
      get('/breaks', () => {
        let pulls = 0
        return new Response(
          new ReadableStream({
            async pull(controller) {
              await new Promise((resolve) => setImmediate(resolve))
              if (++pulls > 3) controller.error(new Error('disk'))
              else controller.enqueue(new Uint8Array(10))
            },
          }),
        )
      }),
    ]
    await using app = await serve({}, { routes })
    const answer = await fetch(`${app.url}/breaks`)
    await expect(answer.arrayBuffer()).rejects.toThrow()
  })

  it('keeps the headers of every answer, except those that it sets itself', async () => {
    const routes = [
      get('/own', () => {
        const headers = new Headers({ 'referrer-policy': 'origin', connection: 'x-internal' })
        headers.append('set-cookie', 'a=1')
        headers.append('set-cookie', 'b=2')
        return new Response('x', { headers })
      }),
    ]
    await using app = await serve({}, { routes })
    const { headers } = await fetch(`${app.url}/own`)
    expect(headers.get('referrer-policy')).toBe('origin')
    expect(headers.get('x-content-type-options')).toBe('nosniff')
    expect(headers.get('connection')).toBe('keep-alive')
    expect(headers.getSetCookie()).toEqual(['a=1', 'b=2'])
    expect(headers.get('content-length')).toBe('1')
  })

  it('stays in the pipeline until its body is sent', async () => {
    const order: string[] = []
    const routes = [get('/slow', () => new Response(bytes(200_000, () => order.push('pull'))))]
    await using app = await serve(
      {},
      {
        routes,
        wrappers: [
          async (_invocation, next) => {
            const result = await next()
            order.push('over')
            return result
          },
        ],
      },
    )
    await (await fetch(`${app.url}/slow`)).arrayBuffer()
    await until(() => order.includes('over'))
    expect(order.at(-1)).toBe('over')
    expect(order.length).toBeGreaterThan(3)
  })

  it('is compressed where that pays: text of some length, for a client that can', async () => {
    const text = 'text '.repeat(2_000)
    const routes = [
      get('/text', () => new Response(text)),
      get('/short', () => new Response('short')),
      get('/image', () => new Response(text, { headers: { 'content-type': 'image/png' } })),
      get('/done', () => new Response(text, { headers: { 'content-encoding': 'identity' } })),
      get(
        '/stream',
        () =>
          new Response(bytes(100_000).pipeThrough(new TransformStream()), {
            headers: { 'content-type': 'text/csv' },
          }),
      ),
    ]
    await using app = await serve({}, { routes })
    const coding = async (path: string, accept: string): Promise<string | null> =>
      (await fetch(`${app.url}${path}`, { headers: { 'accept-encoding': accept } })).headers.get(
        'content-encoding',
      )
    expect(await coding('/text', 'gzip, br')).toBe('br')
    expect(await coding('/text', 'gzip')).toBe('gzip')
    expect(await coding('/text', 'br;q=0, gzip;q=0.5')).toBe('gzip')
    expect(await coding('/text', 'identity')).toBe(null)
    expect(await coding('/short', 'gzip')).toBe(null)
    expect(await coding('/image', 'gzip')).toBe(null)
    expect(await coding('/done', 'gzip')).toBe('identity')
    expect(await coding('/stream', 'gzip')).toBe('gzip')
    const raw = await sendRaw(
      app.url,
      'GET /text HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n',
    )
    expect(raw).toMatch(/vary: accept-encoding/i)
    expect(await (await fetch(`${app.url}/text`)).text()).toBe(text)
    expect(await countBytes((await fetch(`${app.url}/stream`)).body)).toBe(100_000)

    await using plain = await serve({ compression: false }, { routes })
    expect((await fetch(`${plain.url}/text`)).headers.get('content-encoding')).toBe(null)
    await using eager = await serve({ compression: { threshold: 3 } }, { routes })
    expect((await fetch(`${eager.url}/short`)).headers.get('content-encoding')).toBe('gzip')
    expect((await eager.post('/rpc/math/long')).headers.get('content-encoding')).toBe('gzip')
  })
})
