import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type ClientLink, type Duration, procedure, service, silentLogger } from '@quintet/core'
import { createTestHost, type TestHost } from '@quintet/core/testing'
import { z } from 'zod'
import { createClient, httpLink, socketLink } from '../../src/client.ts'
import { http, websocket } from '../../src/index.ts'
import { createLinks } from '../../src/link.ts'
import { alice } from '../support/links.ts'
import { startTcpProxy } from '../support/tcp-proxy.ts'

/** Holds the handlers back after their event of this number. */
let gate: { readonly after: number; readonly open: PromiseWithResolvers<void> }
let begun: number

async function* rows(from: number): AsyncGenerator<{ id: number }> {
  begun++
  for (let id = from; id <= 5; id++) {
    yield { id }
    if (id === gate.after) await gate.open.promise
  }
}

const table = service('table', {
  follow: procedure(
    { access: 'public', stream: z.object({ id: z.number() }), resumable: true },
    async function* ({ lastEventId }) {
      yield* rows(Number(lastEventId ?? 0) + 1)
    },
  ),
  /** Its rows have ids too, but it always begins anew. */
  list: procedure({ access: 'public', stream: z.object({ id: z.number() }) }, async function* () {
    yield* rows(1)
  }),
  /** Says that it can be resumed, and gives the same events again and again. */
  stuck: procedure(
    { access: 'public', stream: z.object({ id: z.number() }), resumable: true },
    async function* () {
      yield* rows(1)
    },
  ),
})

let host: TestHost
let directory: string
beforeEach(async () => {
  gate = { after: 3, open: Promise.withResolvers() }
  begun = 0
  directory = await mkdtemp(join(tmpdir(), 'ql-'))
  host = createTestHost({ services: [table], logger: silentLogger })
})
afterEach(async () => {
  gate.open.resolve()
  await host.close()
  await rm(directory, { recursive: true })
})

interface Reached extends AsyncDisposable {
  readonly link: ClientLink
  /** Ends the connection of the link; it can be made again. */
  cut(): Promise<void>
}

const ways: Record<string, (timeout: Duration) => Promise<Reached>> = {
  async httpLink(timeout) {
    const running = await http().start(host)
    const proxy = await startTcpProxy(running.url ?? '')
    return {
      link: httpLink({ url: proxy.url, timeout }),
      cut: async () => proxy.cut(),
      async [Symbol.asyncDispose]() {
        await proxy[Symbol.asyncDispose]()
        await running.close()
      },
    }
  },
  async socketLink(timeout) {
    const running = await websocket({ access: 'public' }).start(host)
    const proxy = await startTcpProxy(running.url ?? '')
    const link = socketLink({ url: proxy.url, timeout })
    return {
      link,
      cut: async () => proxy.cut(),
      async [Symbol.asyncDispose]() {
        await link.close()
        await proxy[Symbol.asyncDispose]()
        await running.close()
      },
    }
  },
  async 'a link between processes'(_timeout) {
    const common = { directory, secret: 'a secret of this test alone', system: 'library' }
    const start = () =>
      createLinks({ ...common, process: 'worker' })
        .expose()
        .start(host)
    let running = await start()
    const link = createLinks({ ...common, process: 'http' }).connect('worker', () => ({ principal: alice }))
    return {
      link,
      async cut() {
        await running.close()
        running = await start()
      },
      async [Symbol.asyncDispose]() {
        await link[Symbol.asyncDispose]()
        await running.close()
      },
    }
  },
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

describe.each(Object.entries(ways))('a stream over %s', (_name, reach) => {
  const readAll = async (
    { link, cut }: Reached,
    method: 'follow' | 'list' | 'stuck',
    late: boolean,
    cutAfter?: number,
  ): Promise<readonly (number | string)[]> => {
    const seen: (number | string)[] = []
    try {
      const stream = createClient<typeof table>(link).table[method]()
      if (late) await turn()
      for await (const { id } of stream) {
        seen.push(id)
        if (id === cutAfter) await cut()
      }
      seen.push('end')
    } catch (error) {
      seen.push((error as { code: string }).code)
    }
    return seen
  }

  it.each([false, true])('may last longer than the timeout of its link; iterated later: %s', async (late) => {
    await using reached = await reach('1s')
    const read = readAll(reached, 'follow', late)
    setTimeout(gate.open.resolve, 1_500)
    expect(await read).toEqual([1, 2, 3, 4, 5, 'end'])
    expect(begun).toBe(1)
  })

  it.each([false, true])('goes on after its last event when it breaks; iterated later: %s', async (late) => {
    await using reached = await reach('10s')
    const read = readAll(reached, 'follow', late, 3)
    expect(await read).toEqual([1, 2, 3, 4, 5, 'end'])
    expect(begun).toBe(2)
  })

  it.each([false, true])(
    'that does not say that it can be resumed ends with the error; iterated later: %s',
    async (late) => {
      await using reached = await reach('10s')
      expect(await readAll(reached, 'list', late, 3)).toEqual([
        1,
        2,
        3,
        expect.stringMatching(/^ERR_SERVER_(?:CLOSED|CONNECT_FAILED)$/),
      ])
      expect(begun).toBe(1)
    },
  )

  it('is given up when it brings nothing new', async () => {
    await using reached = await reach('10s')
    const seen = await readAll(reached, 'stuck', false, 3)
    expect(seen.at(-1)).toMatch(/^ERR_SERVER_(?:CLOSED|CONNECT_FAILED)$/)
    expect(begun).toBe(6)
  }, 30_000)
})
