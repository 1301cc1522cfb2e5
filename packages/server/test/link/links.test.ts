import { existsSync } from 'node:fs'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, rm, stat, unlink, writeFile } from 'node:fs/promises'
import { createServer, connect as connectSocket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type BinaryClientLink,
  currentInvocation,
  procedure,
  QuintetError,
  service,
  systemPrincipal,
} from '@quintet/core'
import type { RunningTransport } from '@quintet/core/kit'
import { createTestHost, testUser } from '@quintet/core/testing'
import { z } from 'zod'
import { createClient } from '../../src/client.ts'
import { createLinks, type LinksOptions } from '../../src/link.ts'
import { decodeBody, encodeBody } from '../../src/link/body.ts'
import { ByteRange } from '../../src/link/byte-range.ts'
import { FrameReader, FrameWriter } from '../../src/link/frames.ts'
import { until } from '../support/raw.ts'
import { startUnixProxy } from '../support/unix-proxy.ts'

const bytes = z.instanceof(Uint8Array)

const images = service('images', {
  invert: procedure(
    {
      access: 'authenticated',
      maxInputSize: '8mb',
      input: z.object({ name: z.string(), image: bytes }),
      output: z.object({ image: bytes }),
    },
    ({ input }) => ({ image: input.image.map((value) => 255 - value) }),
  ),
  whence: procedure({ access: 'public' }, ({ client, requestId }) => {
    const { traceparent } = currentInvocation() ?? {}
    return { client, requestId, traceparent }
  }),
  who: procedure({ access: 'public' }, ({ principal, requestId, deadline }) => ({
    principal,
    requestId,
    deadline,
  })),
  instance: procedure({ access: 'public' }, ({ services }) => services),
  wait: procedure(
    { access: 'public' },
    ({ signal }) =>
      new Promise<void>((resolve) =>
        signal.addEventListener('abort', () => {
          aborted.push((signal.reason as { code: string }).code)
          resolve()
        }),
      ),
  ),
  numbers: procedure(
    {
      access: 'public',
      input: z.object({ to: z.number() }),
      stream: z.object({ id: z.number() }),
      resumable: true,
    },
    async function* ({ input, lastEventId }) {
      try {
        for (let id = Number(lastEventId ?? 0) + 1; id <= input.to; id++) {
          produced = id
          yield { id }
        }
      } finally {
        ended++
      }
    },
  ),
  fail: procedure({ access: 'public' }, (): void => {
    throw new Error('hunter2')
  }),
})

let aborted: string[]
let produced: number
let ended: number
let directory: string
const secret = 'a secret of thirty-two characters'

beforeEach(async () => {
  aborted = []
  produced = 0
  ended = 0
  directory = await mkdtemp(join(tmpdir(), 'ql-'))
})
afterEach(() => rm(directory, { recursive: true }))

const links = (process: string, more: Partial<LinksOptions> = {}) =>
  createLinks({ directory, secret, system: 'media', process, ...more })

async function expose(instance = 0, more: Partial<LinksOptions> = {}): Promise<RunningTransport> {
  const host = createTestHost({ services: [images], provide: instance })
  return links('worker', { instance, ...more })
    .expose()
    .start(host)
}

const connect = (more: Partial<LinksOptions> = {}): BinaryClientLink & AsyncDisposable =>
  links('http', more).connect('worker', () => ({ principal: testUser({ userId: 'alice' }) }))

describe('createLinks', () => {
  it.each([
    [{ secret: 'short' }, /shorter than 16 bytes/],
    [{ directory: '' }, /createLinks\.directory: "" is not a text/],
    [{ folder: 'x' }, /unknown key "folder"/],
    [{ maxFrameSize: 'x' }, /createLinks\.maxFrameSize/],
    [{ connectTimeout: 'x' }, /createLinks\.connectTimeout/],
    [{ maxFrameSize: 0 }, /createLinks\.maxFrameSize: 0 bytes is too small/],
    [{ keepAlive: { timeout: 0 } }, /createLinks\.keepAlive\.timeout: 0 ms is too small/],
  ])('refuses %j', (options, message) => {
    expect(() => links('a', options as unknown as LinksOptions)).toThrow(message)
  })

  it('says when the path of a socket would be too long', async () => {
    const host = createTestHost()
    const deep = join(directory, 'x'.repeat(100))
    await expect(links('worker', { directory: deep }).expose().start(host)).rejects.toThrow(/shorter path/)
  })
})

describe('a link', () => {
  it('gives the late answer of a call that was canceled to no other call', async () => {
    let finish = (_value: string): void => undefined
    const host = createTestHost({
      services: [
        service('slow', {
          // It does not listen to its signal, so its answer comes when it comes.
          answer: procedure({ access: 'public' }, () => new Promise<string>((resolve) => (finish = resolve))),
          echo: procedure({ access: 'public', input: z.number() }, ({ input }) => input),
        }),
      ],
    })
    const running = await links('worker').expose().start(host)
    await using link = connect()
    const leave = new AbortController()
    const first = link.call('slow.answer', undefined, { signal: leave.signal })
    await link.call('slow.echo', 0)
    leave.abort(new Error('Not wanted any more.'))
    await expect(first).rejects.toThrow('Not wanted any more.')
    const others = Array.from({ length: 50 }, (_, index) => link.call('slow.echo', index))
    finish('late')
    expect(await Promise.all(others)).toEqual(Array.from({ length: 50 }, (_, index) => index))
    expect(await link.call('slow.echo', 7)).toBe(7)
    await running.close()
  })

  it('carries calls with the principal, a request id, deadlines and typed errors', async () => {
    const running = await expose()
    await using link = connect()
    const client = createClient<typeof images>(link)
    const deadline = Date.now() + 5_000
    const seen = await client.images.who(undefined, { deadline })
    expect(seen.principal).toMatchObject({ kind: 'user', userId: 'alice', tenantId: 'tenant-a' })
    expect(seen.requestId).toMatch(/^[\w-]{36}$/)
    expect(Math.abs((seen.deadline ?? 0) - deadline)).toBeLessThan(50)
    await expect(client.images.fail()).rejects.toMatchObject({
      kind: 'internal',
      message: 'Something failed on our side.',
    })
    await expect(client.images.numbers({ to: 'x' as never })).rejects.toMatchObject({
      kind: 'invalid-input',
      details: { issues: [{ pointer: '/to' }] },
    })
    await using system = links('http').connect('worker', () => ({ principal: systemPrincipal('schedule') }))
    expect(await system.call('images.who', undefined)).toMatchObject({
      principal: { kind: 'system', actor: 'schedule' },
    })
    await running.close()
  })

  it('carries the client, the request id and the trace of the call that it is made for', async () => {
    const running = await expose()
    const origin = {
      client: { address: '192.0.2.7', userAgent: 'a browser' },
      requestId: 'request-7',
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    }
    let made = 0
    const principal = testUser()
    await using link = links('http').connect('worker', () => ({
      principal,
      ...origin,
      requestId: `request-${String(++made)}`,
    }))
    // Of one principal and procedure, whose head is sent once.
    expect(await link.call('images.whence', undefined)).toEqual({ ...origin, requestId: 'request-1' })
    expect(await link.call('images.whence', undefined)).toEqual({ ...origin, requestId: 'request-2' })
    const strange = { address: null, userAgent: 'ä\u0000'.repeat(10_000) }
    await using other = links('http').connect('worker', () => ({
      principal,
      client: strange,
      requestId: 'no id',
      traceparent: 'none',
    }))
    const seen = (await other.call('images.whence', undefined)) as Record<string, unknown>
    expect(seen['client']).toEqual({ address: null, userAgent: strange.userAgent.slice(0, 1_024) })
    expect(seen['requestId']).toMatch(/^[\w-]{36}$/)
    expect(seen['traceparent']).toBeUndefined()
    await running.close()
  })

  it('reports a call of a procedure that there is not, as the other surfaces do', async () => {
    const settled: unknown[] = []
    const host = createTestHost({
      services: [images],
      observers: [
        {
          onSettled: ({ operation, errorCode, requestId }) =>
            settled.push([operation.surface, operation.name, errorCode, requestId]),
        },
      ],
    })
    const running = await links('worker').expose().start(host)
    await using link = links('http').connect('worker', () => ({ principal: testUser(), requestId: 'r-1' }))
    await expect(link.call('images.nothing', undefined)).rejects.toMatchObject({
      code: 'ERR_SERVER_NOT_FOUND',
    })
    expect(settled).toEqual([['link', 'unknown procedure', 'ERR_SERVER_NOT_FOUND', 'r-1']])
    await running.close()
  })

  it('carries images as bytes', async () => {
    const running = await expose()
    await using link = connect()
    const client = createClient<typeof images>(link)
    const image = new Uint8Array(3 * 1024 * 1024).map((_value, index) => index % 251)
    const answer = await client.images.invert({ name: 'a', image })
    expect(answer.image.length).toBe(image.length)
    expect(answer.image[1_000]).toBe(255 - (image[1_000] ?? 0))
    await expect(
      client.images.invert({ name: 'a', image: new Uint8Array(9 * 1024 * 1024) }),
    ).rejects.toMatchObject({ kind: 'too-large' })
    await running.close()
  })

  it('streams at the pace of its reader, and tells the handler when the reader leaves', async () => {
    const running = await expose()
    await using link = connect()
    const client = createClient<typeof images>(link)
    const seen: number[] = []
    for await (const { id } of client.images.numbers({ to: 100 })) seen.push(id)
    expect(seen).toEqual(Array.from({ length: 100 }, (_, index) => index + 1))
    expect(ended).toBe(1)
    for await (const { id } of client.images.numbers({ to: 10_000 })) {
      if (id < 20) continue
      await new Promise((resolve) => setTimeout(resolve, 50))
      break
    }
    expect(produced).toBeLessThan(100)
    await until(() => ended === 2)
    await running.close()
  })

  it('carries cancellation, and the loss of the caller', async () => {
    const running = await expose()
    const link = connect()
    const controller = new AbortController()
    const call = link.call('images.wait', undefined, { signal: controller.signal })
    const other = link.call('images.wait', undefined)
    await link.call('images.instance', undefined)
    controller.abort(new Error('enough'))
    await expect(call).rejects.toThrow('enough')
    await until(() => aborted.length === 1)
    const lost = other.catch((error: unknown) => error)
    await link[Symbol.asyncDispose]()
    expect(await lost).toMatchObject({ code: 'ERR_SERVER_CLOSED', kind: 'closed' })
    await until(() => aborted.length === 2)
    await running.close()
  })

  it('keeps many calls apart', async () => {
    const running = await expose()
    await using link = connect()
    const client = createClient<typeof images>(link)
    const sizes = Array.from({ length: 300 }, (_, index) => index * 37)
    const answers = await Promise.all(
      sizes.map((size) => client.images.invert({ name: 'é'.repeat(size), image: new Uint8Array(size) })),
    )
    expect(answers.map(({ image }) => image.length)).toEqual(sizes)
    await running.close()
  })

  it('spreads calls over the instances, and goes on with those that are left', async () => {
    const first = await expose(1)
    const second = await expose(2)
    await using link = connect()
    const waits = [link.call('images.wait', undefined), link.call('images.wait', undefined)].map((call) =>
      call.catch(() => 'lost'),
    )
    const seen = new Set<unknown>()
    for (let count = 0; count < 20; count++) seen.add(await link.call('images.instance', undefined))
    for (let count = 0; seen.size < 2 && count < 200; count++) {
      for (const each of await Promise.all(
        Array.from({ length: 8 }, () => link.call('images.instance', undefined)),
      ))
        seen.add(each)
    }
    expect([...seen].toSorted()).toEqual([1, 2])
    await first.close()
    expect(await link.call('images.instance', undefined)).toBe(2)
    await second.close()
    expect(await Promise.all(waits)).toEqual(['lost', 'lost'])
  })

  it('says within a bounded time that a sibling is missing, and recovers when it comes', async () => {
    await using link = connect({ connectTimeout: 150 })
    const before = Date.now()
    await expect(link.call('images.instance', undefined)).rejects.toMatchObject({
      code: 'ERR_SERVER_CONNECT_FAILED',
      kind: 'unavailable',
      details: { process: 'worker' },
    })
    expect(Date.now() - before).toBeLessThan(1_000)
    const early = connect()
    const waiting = early.call('images.instance', undefined)
    const first = await expose(1)
    expect(await waiting).toBe(1)
    expect(await link.call('images.instance', undefined)).toBe(1)
    await first.close()
    const second = await expose(2)
    expect(await link.call('images.instance', undefined)).toBe(2)
    await early[Symbol.asyncDispose]()
    await second.close()
  })

  it('resumes a stream at another instance when its own one stops', async () => {
    const first = await expose(1)
    await using link = connect()
    const client = createClient<typeof images>(link)
    const seen: number[] = []
    let second: RunningTransport | undefined
    for await (const { id } of client.images.numbers({ to: 60 })) {
      seen.push(id)
      if (id !== 30) continue
      second = await expose(2)
      await first.drain('deployment', AbortSignal.timeout(2_000))
      await first.close()
    }
    expect(seen).toEqual(Array.from({ length: 60 }, (_, index) => index + 1))
    await second?.close()
  })

  it('drains: finishes what it has begun, takes nothing new', async () => {
    const release = Promise.withResolvers<string>()
    const slow = service('slow', { call: procedure({ access: 'public' }, () => release.promise) })
    const running = await links('worker')
      .expose()
      .start(createTestHost({ services: [slow] }))
    await using link = connect({ connectTimeout: 100 })
    const call = link.call('slow.call', undefined)
    await link.call('slow.none', undefined).catch(() => {})
    const drained = running.drain('shutdown', AbortSignal.timeout(5_000))
    await expect
      .poll(() => link.call('slow.none', undefined).catch((error: { code: string }) => error.code))
      .toBe('ERR_SERVER_CONNECT_FAILED')
    release.resolve('done')
    expect(await call).toBe('done')
    await drained
    await running.close()
    expect(await readdir(directory)).toEqual([])
  })

  it('lets nobody in without the secret, on either side', async () => {
    const running = await expose()
    const path = join(directory, (await readdir(directory))[0] ?? '')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    await using stranger = connect({ secret: 'another secret of enough length', connectTimeout: 150 })
    await expect(stranger.call('images.instance', undefined)).rejects.toMatchObject({ kind: 'unavailable' })
    const impatient = connectSocket(path)
    impatient.resume().write(Buffer.from([14, 0, 0, 0, 4, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]))
    await once(impatient, 'close')
    const flood = connectSocket(path).resume()
    flood.on('error', () => {})
    flood.write(Buffer.from([0xff, 0xff, 0xff, 0x7f, 1, 0, 0, 0, 0, 0]))
    await once(flood, 'close')
    await running.close()

    // A socket that somebody else has put into the folder gets no call.
    let heard = ''
    const impostor = createServer((socket) => {
      const hello = JSON.stringify({ version: 2, nonce: 'x'.repeat(43) })
      const frame = Buffer.alloc(10 + hello.length)
      frame.writeUInt32LE(6 + hello.length)
      frame[4] = 1
      frame.write(hello, 10)
      socket.write(frame)
      socket.on('data', (chunk: Buffer) => {
        heard += chunk.toString('latin1')
        const welcome = Buffer.from(frame)
        welcome[4] = 3
        socket.write(welcome)
      })
      socket.on('error', () => {})
    })
    impostor.listen(join(directory, `media.worker.0.${String(process.pid)}-abcdef.sock`))
    await once(impostor, 'listening')
    await using link = connect({ connectTimeout: 200 })
    await expect(link.call('images.who', undefined)).rejects.toMatchObject({ kind: 'unavailable' })
    expect(heard).not.toContain('images.who')
    impostor.close()
  })

  it('reaches the process that it asks for, of its own system, in its own folder', async () => {
    const running = await expose()
    const reach = (more: Partial<LinksOptions>, process = 'worker'): Promise<unknown> => {
      const link = links('http', { connectTimeout: 100, ...more }).connect(process, () => ({
        principal: testUser(),
      }))
      return link.call('images.instance', undefined).finally(() => link[Symbol.asyncDispose]())
    }
    expect(await reach({})).toBe(0)
    await expect(reach({}, 'other')).rejects.toMatchObject({ kind: 'unavailable' })
    await expect(reach({ system: 'ledger' })).rejects.toMatchObject({ kind: 'unavailable' })
    await expect(reach({ directory: join(directory, 'other') })).rejects.toMatchObject({
      kind: 'unavailable',
    })
    await running.close()
  })

  it('is not kept from starting by what a dead process left behind', async () => {
    await writeFile(join(directory, 'media.worker.0.999999999-abcdef.sock'), '')
    const running = await expose()
    expect(await readdir(directory)).toHaveLength(1)
    await using link = connect()
    expect(await link.call('images.instance', undefined)).toBe(0)
    await running.close()
  })

  it('holds the input of a call to the rules of HTTP', async () => {
    const running = await expose()
    await using link = connect()
    const deep = JSON.parse(`${'['.repeat(100)}${']'.repeat(100)}`) as unknown
    for (const name of [deep, JSON.parse('{"__proto__":{"x":1}}') as unknown]) {
      await expect(link.call('images.invert', { name, image: new Uint8Array(1) })).rejects.toMatchObject({
        code: 'ERR_SERVER_BODY_INVALID',
        kind: 'invalid-input',
      })
    }
    expect(await link.call('images.instance', undefined)).toBe(0)
    await running.close()
  })

  it('leaves the socket of a process alone that counts its processes apart', async () => {
    const path = join(directory, 'media.worker.1.999999999-abcdef.sock')
    const other = createServer().listen(path)
    await once(other, 'listening')
    const running = await expose()
    expect(existsSync(path)).toBe(true)
    await running.close()
    other.close()
  })

  it('waits no longer for a sibling when the wall clock steps back', async () => {
    await using link = connect({ connectTimeout: '300ms' })
    const now = Date.now
    const call = link.call('images.instance', undefined)
    call.catch(() => {})
    Date.now = () => now() - 600_000
    try {
      await expect(call).rejects.toMatchObject({ code: 'ERR_SERVER_CONNECT_FAILED' })
    } finally {
      Date.now = now
    }
  })

  it('ends when a frame is larger than it takes', async () => {
    const running = await expose(0, { maxFrameSize: '64kb' })
    await using link = connect()
    await expect(
      link.call('images.invert', { name: '', image: new Uint8Array(100_000) }),
    ).rejects.toMatchObject({ code: 'ERR_SERVER_CLOSED' })
    await using careful = connect({ maxFrameSize: '64kb' })
    const others = careful.call('images.instance', undefined)
    await expect(
      careful.call('images.invert', { name: '', image: new Uint8Array(100_000) }),
    ).rejects.toMatchObject({ code: 'ERR_SERVER_TOO_LARGE' })
    expect(await others).toBe(0)
    expect(await link.call('images.instance', undefined)).toBe(0)
    await running.close()
  })
})

describe('a sibling that does not answer any more', () => {
  const frozen = async (
    more: Partial<LinksOptions>,
    act: (link: BinaryClientLink, freeze: () => void) => Promise<void>,
  ): Promise<void> => {
    const behind = await mkdtemp(join(tmpdir(), 'ql-'))
    const running = await links('worker', { directory: behind })
      .expose()
      .start(createTestHost({ services: [images] }))
    const [name = ''] = await readdir(behind)
    await using hop = await startUnixProxy(join(behind, name), join(directory, name))
    {
      await using link = connect(more)
      await link.call('images.instance', undefined)
      await act(link, hop.freeze)
    }
    await running.close()
    await rm(behind, { recursive: true })
  }

  it('is waited for without a limit where connectTimeout is 0', async () => {
    await using link = connect({ connectTimeout: 0 })
    const early = link.call('images.instance', undefined)
    const running = await expose(5)
    expect(await early).toBe(5)
    await running.close()
  })

  it('holds a call no longer than the timeout of the link, or the deadline of the call', async () => {
    await frozen({ timeout: 300, keepAlive: { interval: 0 } }, async (link, freeze) => {
      freeze()
      await expect(link.call('images.instance', undefined)).rejects.toMatchObject({ kind: 'timeout' })
    })
    await frozen({ timeout: 0, keepAlive: { interval: 0 } }, async (link, freeze) => {
      freeze()
      const deadline = Date.now() + 200
      await expect(link.call('images.instance', undefined, { deadline })).rejects.toMatchObject({
        kind: 'timeout',
      })
    })
  })

  it('is asked whether it lives, and left for another that does', async () => {
    await frozen({ keepAlive: { interval: 50, timeout: 200 } }, async (link, freeze) => {
      const waiting = link.call('images.wait', undefined)
      freeze()
      await expect(waiting).rejects.toMatchObject({ code: 'ERR_SERVER_CLOSED' })
      const other = await expose(7)
      expect(await link.call('images.instance', undefined)).toBe(7)
      await other.close()
    })
  })

  it('is kept while it is quiet and answers', async () => {
    const running = await expose(3)
    await using link = connect({ keepAlive: { interval: 5, timeout: 10_000 }, timeout: 300 })
    await expect(link.call('images.wait', undefined)).rejects.toMatchObject({ kind: 'timeout' })
    await until(() => aborted.length === 1)
    expect(await link.call('images.instance', undefined)).toBe(3)
    await running.close()
  })
})

describe('the folder of the links', () => {
  it.each([0o777, 0o770, 0o720])('is refused when others may write to it: %o', async (mode) => {
    await chmod(directory, mode)
    await expect(expose()).rejects.toThrow(/createLinks\.directory: .* can be written to by other users/)
    await using link = connect()
    await expect(link.call('images.instance', undefined)).rejects.toThrow(/chmod 700/)
  })

  it('gets another socket when one is removed, beside the connections that exist', async () => {
    const running = await expose(4)
    await using early = connect()
    const waiting = early.call('images.wait', undefined, { deadline: Date.now() + 4_000 })
    waiting.catch(() => {})
    await early.call('images.instance', undefined)
    const [name = ''] = await readdir(directory)
    await unlink(join(directory, name))
    await using late = connect({ connectTimeout: '10s' })
    expect(await late.call('images.instance', undefined)).toBe(4)
    expect(await early.call('images.instance', undefined)).toBe(4)
    await running.close()
    expect(await readdir(directory)).toEqual([])
  })
})

describe('what is too large for one frame of a link', () => {
  const large = 'x'.repeat(70_000)
  const maxFrameSize = '64kb'
  const failing = service('failing', {
    details: procedure({ access: 'public' }, (): void => {
      throw new QuintetError('No.', { code: 'ERR_LARGE', kind: 'conflict', details: { large } })
    }),
    message: procedure({ access: 'public' }, (): void => {
      throw new QuintetError(large, { code: 'ERR_LARGE', kind: 'conflict', retryAfter: 7 })
    }),
    result: procedure({ access: 'public', output: z.string() }, () => large),
    event: procedure({ access: 'public', stream: z.string() }, async function* () {
      yield large
    }),
    size: procedure({ access: 'public', input: z.string(), output: z.number() }, ({ input }) => input.length),
    last: procedure({ access: 'public', stream: z.any() }, async function* ({ lastEventId }) {
      yield lastEventId?.length
    }),
    slow: procedure({ access: 'public', output: z.string() }, () => new Promise<string>((r) => (finish = r))),
  })
  let finish = (_value: string): void => undefined

  async function beside(
    act: (link: BinaryClientLink) => Promise<unknown>,
    principal = testUser({ userId: 'alice' }),
  ): Promise<unknown> {
    finish = () => undefined
    const running = await links('worker', { maxFrameSize })
      .expose()
      .start(createTestHost({ services: [failing] }))
    await using link = links('http', { maxFrameSize }).connect('worker', () => ({ principal }))
    const other = link.call('failing.slow', undefined)
    other.catch(() => {})
    try {
      await link.call('failing.size', '')
      const outcome = await act(link).catch((error: unknown) => error)
      finish('answered')
      expect(await other).toBe('answered')
      // The head of a refused call was not sent, so it must not count as known.
      expect(await link.call('failing.size', 'ab')).toBe(2)
      return outcome
    } finally {
      await running.close()
    }
  }

  it.each([
    ['details', { code: 'ERR_LARGE', kind: 'conflict', message: 'No.', details: undefined }],
    [
      'message',
      { code: 'ERR_LARGE', kind: 'conflict', message: expect.stringMatching(/^x{200}…$/), retryAfter: 7 },
    ],
    ['result', { code: 'ERR_SERVER_TOO_LARGE' }],
  ])('ends its own call alone: %s', async (name, expected) => {
    expect(await beside((link) => link.call(`failing.${name}`, undefined))).toMatchObject(expected)
  })

  it('ends its own call alone: an input, an event, a principal, the id of an event', async () => {
    const refused = { code: 'ERR_SERVER_TOO_LARGE', kind: 'too-large' }
    const iterate = async (link: BinaryClientLink, method: string, lastEventId?: string): Promise<void> => {
      const options = lastEventId === undefined ? {} : { lastEventId }
      for await (const _event of link.stream(method, undefined, options));
    }
    expect(await beside((link) => link.call('failing.size', large))).toMatchObject(refused)
    expect(await beside((link) => iterate(link, 'failing.event'))).toMatchObject(refused)
    expect(await beside((link) => iterate(link, 'failing.last', large))).toMatchObject(refused)
    const permissions = Array.from({ length: 600 }, (_, index) => `project:${String(index)}:documents:write`)
    const rich = testUser({ userId: 'rich', permissions })
    expect(await beside((link) => link.call('failing.details', 'x'.repeat(60_000)), rich)).toMatchObject(
      refused,
    )
  })

  it('is told by its last byte', async () => {
    const most = 64 * 1024 - 10 - 16 - 2
    expect(
      await beside(async (link) => {
        await link.call('failing.size', '')
        return link.call('failing.size', 'x'.repeat(most))
      }),
    ).toBe(most)
    expect(
      await beside(async (link) => {
        await link.call('failing.size', '')
        return link.call('failing.size', 'x'.repeat(most + 1))
      }),
    ).toMatchObject({ code: 'ERR_SERVER_TOO_LARGE' })
  })
})

function toBytes(piece: string | number | Uint8Array): Buffer {
  if (typeof piece !== 'number') return Buffer.from(piece as Uint8Array)
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32LE(piece)
  return bytes
}

describe('frames', () => {
  it('come out as they went in, however they are cut', async () => {
    const piece = fc.oneof(
      fc.string({ maxLength: 40, unit: 'grapheme' }),
      fc.uint8Array({ maxLength: 40 }),
      fc.constantFrom('x'.repeat(20_000), 'é'.repeat(70_000)),
    )
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.array(piece, { maxLength: 4 }), { maxLength: 12 }),
        fc.integer({ min: 1, max: 9_000 }),
        async (frames, cut) => {
          const written: Uint8Array[] = []
          const writer = new FrameWriter({
            destroyed: false,
            cork() {},
            uncork() {},
            write: (chunk) => written.push(chunk) > 0,
          })
          frames.forEach((pieces, index) => writer.write(5, index, index % 2, pieces))
          await new Promise((resolve) => setImmediate(resolve))
          const all = Buffer.concat(written)
          const got: { id: number; flags: number; payload: Buffer }[] = []
          const reader = new FrameReader(10_000_000)
          for (let at = 0; at < all.length; at += cut)
            reader.read(all.subarray(at, at + cut), (frame) =>
              got.push({ id: frame.id, flags: frame.flags, payload: Buffer.from(frame.payload.copy()) }),
            )
          expect(got.map(({ id, flags }) => [id, flags])).toEqual(
            frames.map((_frame, index) => [index, index % 2]),
          )
          got.forEach(({ payload }, index) => {
            expect(
              payload.equals(
                Buffer.concat((frames[index] ?? []).map((each) => Buffer.from(each as Uint8Array))),
              ),
            ).toBe(true)
          })
        },
      ),
      { numRuns: 60 },
    )
  })

  it('carry any JSON value with bytes anywhere in it', () => {
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom(null, true, 'text', '', 0, -1.5),
        fc.uint8Array({ maxLength: 8 }),
        fc.array(tie('any'), { maxLength: 3 }),
        fc.dictionary(
          fc.string({ maxLength: 4 }).filter((key) => key !== '__proto__' && key !== 'toJSON'),
          tie('any'),
          { maxKeys: 3, noNullPrototype: true },
        ),
      ),
    })).any
    fc.assert(
      fc.property(value, (original) => {
        const { binary, pieces } = encodeBody(original, 1_000_000_000)
        const payload = Buffer.concat(pieces.map(toBytes))
        expect(decodeBody(new ByteRange(payload), binary)).toEqual(
          JSON.stringify(original) === '-0' ? 0 : original,
        )
      }),
      { numRuns: 300 },
    )
  })
})
