import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { WebSocketServer } from 'ws'
import { procedure, service } from '@quintet/core'
import { createTestHost, testUser } from '@quintet/core/testing'
import { z } from 'zod'
import { socketLink } from '../../src/client.ts'
import { websocket } from '../../src/index.ts'
import { until } from '../support/raw.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'
import { math } from '../support/serve.ts'

const news = service('news', {
  wait: procedure({ access: 'public' }, ({ signal }) => {
    return new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
  }),
  follow: procedure(
    { access: 'public', stream: z.object({ id: z.number() }), resumable: true },
    async function* ({ signal, lastEventId }) {
      const id = Number(lastEventId ?? 0) + 1
      yield { id }
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
    },
  ),
})

async function start(): Promise<{ url: string; active: () => number } & AsyncDisposable> {
  const host = createTestHost({ services: [math, news], tokens: { alice: testUser({ userId: 'alice' }) } })
  const running = await websocket({ access: 'public' }).start(host)
  return {
    url: running.url ?? '',
    active: () => host.pipeline.active,
    async [Symbol.asyncDispose]() {
      await running.close()
      await host.close()
    },
  }
}

describe('socketLink on a network that died', () => {
  const keepAlive = { interval: 50, timeout: 200 }

  it('rejects its calls, connects again and calls on', async () => {
    await using app = await start()
    await using proxy = await startTcpProxy(app.url)
    await using link = socketLink({ url: proxy.url, keepAlive })
    const waiting = link.call('news.wait', undefined)
    waiting.catch(() => {})
    await until(() => app.active() === 1)
    proxy.freeze()
    await expect(waiting).rejects.toMatchObject({ code: 'ERR_SERVER_CLOSED', kind: 'closed' })
    expect(await link.call('math.add', { a: 1, b: 2 })).toEqual({ sum: 3 })
    expect(proxy.connections).toBe(2)
  })

  it('resumes its streams after their last event', async () => {
    await using app = await start()
    await using proxy = await startTcpProxy(app.url)
    await using link = socketLink({ url: proxy.url, keepAlive })
    const events = link.stream('news.follow', undefined)[Symbol.asyncIterator]()
    expect(await events.next()).toMatchObject({ value: { id: 1 } })
    proxy.freeze()
    expect(await events.next()).toMatchObject({ value: { id: 2 } })
    await events.return?.()
  })

  it('closes without waiting for an answer', async () => {
    await using app = await start()
    await using proxy = await startTcpProxy(app.url)
    const link = socketLink({ url: proxy.url, keepAlive: { interval: 0 } })
    await link.call('math.nothing', undefined)
    proxy.freeze()
    await link.close()
    await expect(link.call('math.nothing', undefined)).rejects.toMatchObject({ code: 'ERR_SERVER_CLOSED' })
  })

  it('keeps a connection that is quiet and answers', async () => {
    await using app = await start()
    await using proxy = await startTcpProxy(app.url)
    await using link = socketLink({ url: proxy.url, keepAlive: { interval: 5, timeout: 5_000 } })
    const waiting = link.call('news.wait', undefined, { deadline: Date.now() + 300 })
    await expect(waiting).rejects.toMatchObject({ kind: 'timeout' })
    expect(await link.call('math.add', { a: 1, b: 2 })).toEqual({ sum: 3 })
    expect(proxy.connections).toBe(1)
  })
})

describe('socketLink whose server', () => {
  it('accepts the connection and says nothing is given up after connectTimeout, and tried again', async () => {
    let connections = 0
    const silent = createServer((socket) => {
      connections++
      socket.on('error', () => {})
    })
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
    const { port } = silent.address() as AddressInfo
    const link = socketLink({ url: `ws://127.0.0.1:${String(port)}/ws`, connectTimeout: 50 })
    const failed = { code: 'ERR_SERVER_CONNECT_FAILED', kind: 'unavailable' }
    await expect(link.call('a.b', undefined)).rejects.toMatchObject(failed)
    await expect(link.call('a.b', undefined)).rejects.toMatchObject(failed)
    expect(connections).toBeGreaterThan(1)
    const hanging = socketLink({
      url: 'ws://127.0.0.1:1',
      token: () => new Promise(() => {}),
      connectTimeout: 50,
    })
    await expect(hanging.call('a.b', undefined)).rejects.toMatchObject(failed)
    await hanging.close()
    await link.close()
    silent.close()
  })

  it.each(['no JSON', 'null', '[1', ''])('sends %j rejects its calls', async (nonsense) => {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' })
    server.on('connection', (socket) => socket.on('message', () => socket.send(nonsense)))
    await new Promise((resolve) => server.once('listening', resolve))
    const { port } = server.address() as AddressInfo
    const link = socketLink({ url: `ws://127.0.0.1:${String(port)}` })
    await expect(link.call('a.b', undefined)).rejects.toMatchObject({ code: 'ERR_SERVER_RESPONSE_INVALID' })
    await link.close()
    server.close()
  })

  it('is about to stop gets no new call, and those in progress are answered', async () => {
    const release = Promise.withResolvers<void>()
    const slow = service('slow', {
      call: procedure({ access: 'public' }, () => release.promise.then(() => 'done')),
    })
    await using host = createTestHost({ services: [slow] })
    const running = await websocket({ access: 'public' }).start(host)
    const other = await websocket({ access: 'public' }).start(createTestHost({ services: [math] }))
    const urls = [running.url ?? '', other.url ?? '']
    class Balanced extends WebSocket {
      constructor(...[, protocols]: ConstructorParameters<typeof WebSocket>) {
        super(urls.shift() ?? '', protocols)
      }
    }
    await using link = socketLink({ url: 'ws://balancer', WebSocket: Balanced })
    const call = link.call('slow.call', undefined)
    await until(() => host.pipeline.active === 1)
    const drained = running.drain('deployment', AbortSignal.timeout(5_000))
    await until(() => urls.length === 1)
    let sum: unknown
    while (sum === undefined) sum = await link.call('math.add', { a: 1, b: 2 }).catch(() => undefined)
    expect(sum).toEqual({ sum: 3 })
    release.resolve()
    expect(await call).toBe('done')
    await drained
    await running.close()
    await other.close()
  })

  it('may take its time to be connected where connectTimeout is 0', async () => {
    await using app = await start()
    await using link = socketLink({ url: app.url, connectTimeout: 0 })
    expect(await link.call('math.add', { a: 1, b: 2 })).toEqual({ sum: 3 })
    expect(() => socketLink({ url: app.url, keepAlive: { timeout: 0 } })).toThrow(/keepAlive\.timeout: 0 ms/)
  })

  it('cannot be named by a URL or a token that no WebSocket takes', async () => {
    const link = socketLink({ url: 'ws://127.0.0.1:1', token: 'not a token' })
    await expect(link.call('a.b', undefined)).rejects.toMatchObject({ code: 'ERR_SERVER_TOKEN_FAILED' })
    expect(() => socketLink({ url: 'ws://a', keepAlive: { intervall: 1 } as object })).toThrow(/"interval"/)
  })
})
