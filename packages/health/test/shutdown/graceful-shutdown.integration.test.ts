import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { Agent, get, type IncomingMessage } from 'node:http'
import { createServer } from 'node:http'
import { connect, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { until } from '@quintet/test-kit'
import { afterEach, describe, expect, it } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { gracefulShutdown, type ShutdownOptions } from '../../src/index.ts'

interface Child {
  readonly process: ChildProcess
  readonly port: number
  readonly messages: readonly string[]
  /** What it has written so far. */
  readonly output: () => string
  /** Its exit code and how long it took from now, in milliseconds. */
  exited(): Promise<{ readonly code: number | null; readonly afterMs: number }>
}

type ChildOptions = Omit<ShutdownOptions, 'hooks'> & {
  hooks?: ('ok' | 'hang' | 'fail')[]
  crash?: boolean
  withoutLogger?: boolean
  throwOnAbort?: boolean
  withSecond?: boolean
}

const children: ChildProcess[] = []
afterEach(() => {
  for (const child of children.splice(0)) child.kill('SIGKILL')
})

async function start(options: ChildOptions = {}): Promise<Child> {
  const child = fork(join(import.meta.dirname, 'server-child.ts'), [JSON.stringify(options)], {
    silent: true,
  })
  children.push(child)
  const messages: string[] = []
  let output = ''
  child.on('message', (message) => messages.push(String(message)))
  child.stdout?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  child.stderr?.on('data', (chunk: Buffer) => (output += chunk.toString()))
  // 'close', because output may come after 'exit'.
  const exit = once(child, 'close')
  const port = await until(() => messages.find((message) => message.startsWith('port '))?.slice(5))
  return {
    process: child,
    port: Number(port),
    messages,
    output: () => output,
    async exited() {
      const before = performance.now()
      const [code] = (await exit) as [number | null]
      return { code, afterMs: performance.now() - before }
    },
  }
}

function request(port: number, path: string, agent: Agent | false = false): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path, agent }, resolve).on('error', reject)
  })
}

describe('gracefulShutdown', () => {
  it('exits with 0 when nothing is in progress', async () => {
    const child = await start()
    child.process.kill('SIGTERM')
    expect((await child.exited()).code).toBe(0)
  })

  it('lets a request in progress end, and refuses new connections meanwhile', async () => {
    const child = await start()
    const response = await request(child.port, '/slow')
    const body = text(response)
    child.process.kill('SIGTERM')
    await until(() => child.messages.includes('stopping'))
    await until(() =>
      request(child.port, '/').then(
        () => false,
        () => true,
      ),
    )
    child.process.send('finish')
    expect(await body).toBe('begin end')
    expect((await child.exited()).code).toBe(0)
  })

  it('closes keep-alive connections that are idle, and silent ones that never asked anything', async () => {
    const child = await start()
    const agent = new Agent({ keepAlive: true })
    await text(await request(child.port, '/', agent))
    const silent = connect(child.port, '127.0.0.1')
    await once(silent, 'connect')
    silent.on('error', () => undefined)
    const closed = once(silent, 'close')
    silent.resume()
    child.process.kill('SIGTERM')
    const { code, afterMs } = await child.exited()
    expect(code).toBe(0)
    expect(afterMs).toBeLessThan(3_000)
    await closed
    agent.destroy()
  })

  it('tells WebSocket clients 1001 with the reason', async () => {
    const child = await start()
    const socket = new WebSocket(`ws://127.0.0.1:${child.port}`)
    await until(() => child.messages.includes('socket open'))
    const closed = once(socket, 'close')
    child.process.kill('SIGTERM')
    const [code, reason] = (await closed) as [number, Buffer]
    expect({ code, reason: reason.toString() }).toEqual({ code: 1001, reason: 'server_shutdown' })
    expect((await child.exited()).code).toBe(0)
  })

  it('goes on serving for the propagation delay, outside the timeout, but not ready and with Connection: close', async () => {
    const child = await start({ propagationDelay: '1s', timeout: 900 })
    expect((await request(child.port, '/readyz')).statusCode).toBe(200)
    child.process.kill('SIGTERM')
    await until(() => child.messages.includes('stopping'))
    const agent = new Agent({ keepAlive: true })
    const response = await request(child.port, '/', agent)
    expect(response.headers.connection).toBe('close')
    expect(await text(response)).toBe('hello')
    expect((await request(child.port, '/readyz')).statusCode).toBe(503)
    expect((await request(child.port, '/livez')).statusCode).toBe(200)
    expect((await child.exited()).code).toBe(0)
    agent.destroy()
  })

  it('breaks off at the drain timeout what does not end, says so, and exits with 1', async () => {
    const child = await start({ drainTimeout: 200 })
    const response = await request(child.port, '/slow')
    const body = text(response)
    child.process.kill('SIGTERM')
    await expect(body).rejects.toThrow()
    expect((await child.exited()).code).toBe(1)
    expect(child.output()).toContain('1 request(s)')
  })

  it('runs hooks in reverse, goes on after one that fails or hangs, and names both', async () => {
    const child = await start({ hooks: ['ok', 'hang', 'fail', 'ok'] })
    child.process.kill('SIGTERM')
    expect((await child.exited()).code).toBe(1)
    expect(child.messages.filter((message) => message.startsWith('hook'))).toEqual([
      'hook ok-3',
      'hook fail-2',
      'hook hang-1',
      'hook ok-0',
    ])
    expect(child.output()).toContain('hook fail-2: cannot close')
    expect(child.output()).toContain('hook hang-1: was not done within 200 ms')
  })

  it('is ended by the watchdog, which names what hung', async () => {
    const child = await start({ timeout: 400, drainTimeout: '1m' })
    const response = await request(child.port, '/slow')
    text(response).catch(() => undefined)
    child.process.kill('SIGTERM')
    const { code, afterMs } = await child.exited()
    expect(code).toBe(1)
    expect(afterMs).toBeLessThan(3_000)
    expect(child.output()).toContain('it hung at: connections (1 request(s), 0 WebSocket(s) at the start)')
  })

  it('leaves at once on a second signal', async () => {
    const child = await start()
    const response = await request(child.port, '/slow')
    text(response).catch(() => undefined)
    child.process.kill('SIGTERM')
    await until(() => child.messages.includes('stopping'))
    child.process.kill('SIGINT')
    const { code, afterMs } = await child.exited()
    expect(code).toBe(1)
    expect(afterMs).toBeLessThan(1_000)
  })

  it('takes the same way, and exits with 1, when nobody catches an error', async () => {
    const child = await start({ crash: true, hooks: ['ok'] })
    child.process.send('crash')
    expect((await child.exited()).code).toBe(1)
    expect(child.messages).toContain('hook ok-0')
    expect(child.output()).toContain('nobody catches this')
  })

  it('writes the error that ended it to stderr where there is no logger', async () => {
    const child = await start({ crash: true, withoutLogger: true })
    child.process.send('crash')
    expect((await child.exited()).code).toBe(1)
    expect(child.output()).toContain('uncaught error: Error: nobody catches this')
    expect(child.output()).toMatch(/at .*server-child/)
  })

  it('names what failed, and what hung, on stderr where there is no logger', async () => {
    const child = await start({ withoutLogger: true, hooks: ['hang'] })
    child.process.kill('SIGTERM')
    expect((await child.exited()).code).toBe(1)
    expect(child.output()).toContain('hook hang-0: was not done within 200 ms')
    const late = await start({ withoutLogger: true, timeout: 100, hooks: ['hang'] })
    late.process.kill('SIGTERM')
    expect((await late.exited()).code).toBe(1)
    expect(late.output()).toContain('it hung at: hook hang-0')
  })

  it('goes on to drain and runs every hook when an error is not caught during the shutdown', async () => {
    const child = await start({ crash: true, hooks: ['ok'] })
    const response = await request(child.port, '/slow')
    const body = text(response)
    child.process.kill('SIGTERM')
    await until(() => child.messages.includes('stopping'))
    child.process.send('crash')
    await until(() => child.output().includes('nobody catches this'))
    child.process.send('finish')
    expect(await body).toBe('begin end')
    expect((await child.exited()).code).toBe(1)
    expect(child.messages).toContain('hook ok-0')
  })

  it('drains and runs every hook when a listener of its signal throws', async () => {
    const child = await start({ throwOnAbort: true, hooks: ['ok'] })
    child.process.kill('SIGTERM')
    expect((await child.exited()).code).toBe(1)
    expect(child.output()).toContain('a listener throws')
    expect(child.messages).toContain('hook ok-0')
  })

  it('exits when every shutdown of the process has ended', async () => {
    const child = await start({ withSecond: true, hooks: ['ok'] })
    child.process.kill('SIGTERM')
    await until(() => child.messages.includes('hook ok-0'))
    child.process.send('finish second')
    expect((await child.exited()).code).toBe(0)
    expect(child.messages).toContain('hook second')
  })

  it('leaves crashes and signals alone that it is not to handle', async () => {
    const child = await start({ crash: true, crashes: false, signals: ['SIGTERM'], hooks: ['ok'] })
    child.process.send('crash')
    expect((await child.exited()).code).toBe(1)
    expect(child.messages).not.toContain('hook ok-0')
    const other = await start({ signals: ['SIGTERM'], hooks: ['ok'] })
    other.process.kill('SIGINT')
    expect((await other.exited()).code).toBeNull()
    expect(other.messages).not.toContain('hook ok-0')
  })

  it('can be run without leaving the process, once, and adds hooks later', async () => {
    const server = createServer((_request, response) => void response.end())
    const order: string[] = []
    using shutdown = gracefulShutdown(server, {
      hooks: [{ name: 'pool', run: () => void order.push('pool') }],
    })
    shutdown.onShutdown({ name: 'worker', run: () => void order.push('worker') })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    await text(await request(port, '/'))
    await Promise.all([shutdown.shutdown(), shutdown.shutdown()])
    expect(order).toEqual(['worker', 'pool'])
    expect(server.listening).toBe(false)
    expect(shutdown.signal.aborted).toBe(true)
    expect(() => shutdown.onShutdown({ name: 'late', run: () => undefined })).toThrow('comes too late')
  })

  it('leaves no listener on the process or the server when it is disposed', () => {
    const server = createServer()
    const events = ['SIGTERM', 'SIGINT', 'uncaughtException', 'unhandledRejection'] as const
    const count = (): number[] => [
      ...events.map((event) => process.listenerCount(event)),
      ...server.eventNames().map((event) => server.listenerCount(event)),
    ]
    const before = count()
    const first = gracefulShutdown(server)
    const second = gracefulShutdown(createServer(), { crashes: false, signals: ['SIGTERM'] })
    first[Symbol.dispose]()
    expect(process.listenerCount('SIGTERM')).toBe((before[0] ?? 0) + 1)
    expect(process.listenerCount('SIGINT')).toBe(before[1])
    expect(process.listenerCount('uncaughtException')).toBe(before[2])
    second[Symbol.dispose]()
    expect(count()).toEqual(before)
  })

  it('has owners of WebSockets tell their clients before connections are closed', async () => {
    const server = createServer()
    const sockets = new WebSocketServer({ server })
    const owner = {
      async drain(reason: string) {
        for (const socket of sockets.clients) {
          socket.send(`reconnect after ${reason}`)
          socket.close(1001, 'spread out')
          await once(socket, 'close')
        }
      },
    }
    using shutdown = gracefulShutdown(server, { sockets: [owner] })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
    await once(client, 'open')
    const [told, closed] = [once(client, 'message'), once(client, 'close')]
    await shutdown.shutdown()
    expect(String((await told)[0])).toBe('reconnect after shutdown')
    expect(String((await closed)[1])).toBe('spread out')
  })

  it('goes on when an owner of WebSockets hangs, and names it', async () => {
    const server = createServer()
    using shutdown = gracefulShutdown(server, {
      drainTimeout: 100,
      sockets: [{ drain: () => new Promise(() => undefined) }],
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    await expect(shutdown.shutdown()).rejects.toThrow('owners of WebSockets: was not done within 50 ms')
    expect(server.listening).toBe(false)
  })

  it('refuses options that it does not know or that make no sense', () => {
    const server = createServer()
    expect(() => gracefulShutdown(server, { timeot: 1 } as never)).toThrow('Did you mean "timeout"?')
    expect(() => gracefulShutdown(server, { signals: ['SIGKILL'] })).toThrow('gracefulShutdown.signals[0]')
    expect(() => gracefulShutdown(server, { sockets: [{}] as never })).toThrow('it has no drain()')
    expect(() => gracefulShutdown(server, { hooks: [{ name: '', run: () => undefined }] })).toThrow(
      'gracefulShutdown.hooks[0].name',
    )
  })
})
