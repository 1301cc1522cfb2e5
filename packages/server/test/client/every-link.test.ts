import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { procedure, QuintetError, service } from '@quintet/core'
import { createTestHost, type TestHost } from '@quintet/core/testing'
import { z } from 'zod'
import { createClient } from '../../src/client.ts'
import { alice, linkKinds } from '../support/links.ts'
import { until } from '../support/raw.ts'

/** What the handlers have seen. */
let seen: string[] = []

const library = service('library', {
  rename: procedure(
    {
      access: 'authenticated',
      input: z.object({ title: z.string().trim().min(1) }),
      output: z.object({ title: z.string(), by: z.string() }),
    },
    ({ input, principal }) => ({ title: input.title, by: principal.userId }),
  ),
  nothing: procedure({ access: 'authenticated' }, () => {}),
  lend: procedure({ access: 'authenticated' }, (): void => {
    throw new QuintetError('It is lent already.', {
      code: 'ERR_LIBRARY_LENT',
      kind: 'conflict',
      details: { until: 'Tuesday' },
    })
  }),
  wait: procedure({ access: 'authenticated' }, ({ signal, deadline }) => {
    seen.push(`deadline ${deadline === null ? 'none' : deadline - Date.now() < 1_000 ? 'near' : 'far'}`)
    return new Promise<void>((_resolve, reject) => {
      signal.addEventListener('abort', () => {
        seen.push(`aborted ${(signal.reason as QuintetError).kind}`)
        reject(signal.reason as Error)
      })
    })
  }),
  pages: procedure(
    {
      access: 'authenticated',
      input: z.object({ to: z.number() }),
      stream: z.object({ id: z.number(), text: z.string() }),
    },
    async function* ({ input, lastEventId }) {
      seen.push(`from ${lastEventId ?? 'the start'}`)
      try {
        for (let id = Number(lastEventId ?? 0) + 1; id <= input.to; id++) yield { id, text: `page ${id}` }
      } finally {
        seen.push('over')
      }
    },
  ),
})

let directory: string
let host: TestHost
beforeEach(async () => {
  seen = []
  directory = await mkdtemp(join(tmpdir(), 'ql-'))
  host = createTestHost({ services: [library], tokens: { alice } })
})
afterEach(async () => {
  await host.close()
  await rm(directory, { recursive: true })
})

describe.each(Object.entries(linkKinds))('%s', (_name, open) => {
  const connect = async (): Promise<
    ReturnType<typeof createClient<typeof library>>['library'] & AsyncDisposable
  > => {
    const link = await open(host, directory)
    const client = createClient<typeof library>(link)
    return Object.assign(Object.create(null) as object, {
      rename: client.library.rename,
      nothing: client.library.nothing,
      lend: client.library.lend,
      wait: client.library.wait,
      pages: client.library.pages,
      [Symbol.asyncDispose]: () => link[Symbol.asyncDispose](),
    })
  }

  it('gives what the schemas make of input and result', async () => {
    await using client = await connect()
    expect(await client.rename({ title: '  Emma ' })).toEqual({ title: 'Emma', by: 'alice' })
    expect(await client.nothing()).toBeUndefined()
  })

  it('throws the error that the handler threw, and one that says what is wrong with the input', async () => {
    await using client = await connect()
    await expect(client.lend()).rejects.toMatchObject({
      name: 'QuintetError',
      code: 'ERR_LIBRARY_LENT',
      kind: 'conflict',
      message: 'It is lent already.',
      details: { until: 'Tuesday' },
    })
    await expect(client.rename({ title: '' })).rejects.toMatchObject({
      kind: 'invalid-input',
      details: { issues: [{ pointer: '/title' }] },
    })
  })

  it('rejects a call whose input cannot be serialised, and goes on', async () => {
    await using client = await connect()
    const cycle: Record<string, unknown> = {}
    cycle['self'] = cycle
    for (const title of [1n, cycle]) {
      const call = client.rename({ title: title as unknown as string })
      await expect(call).rejects.toMatchObject({ code: 'ERR_SERVER_BODY_INVALID', kind: 'invalid-input' })
      const pages = client.pages({ to: title as unknown as number })[Symbol.asyncIterator]()
      await expect(pages.next()).rejects.toMatchObject({ code: 'ERR_SERVER_BODY_INVALID' })
    }
    expect(await client.rename({ title: 'Emma' })).toEqual({ title: 'Emma', by: 'alice' })
  })

  it('takes a deadline along, which ends the call on both sides', async () => {
    await using client = await connect()
    await expect(client.wait(undefined, { deadline: Date.now() + 150 })).rejects.toMatchObject({
      kind: 'timeout',
    })
    await until(() => seen.length === 2)
    // Whichever side notices first.
    expect(seen).toEqual(['deadline near', expect.stringMatching(/^aborted (?:timeout|canceled)$/)])
  })

  it('tells the handler when its caller gives up', async () => {
    await using client = await connect()
    const giveUp = new AbortController()
    const call = client.wait(undefined, { signal: giveUp.signal })
    await until(() => seen.length === 1)
    giveUp.abort(new Error('Not today.'))
    await expect(call).rejects.toThrow()
    await until(() => seen.length === 2)
    expect(seen).toEqual(['deadline far', 'aborted canceled'])
  })

  it('streams, begins after the event that was seen last, and tells the handler when its reader leaves', async () => {
    await using client = await connect()
    const ids: number[] = []
    for await (const { id } of client.pages({ to: 3 })) ids.push(id)
    for await (const { id } of client.pages({ to: 5 }, { lastEventId: '3' })) ids.push(id)
    expect(ids).toEqual([1, 2, 3, 4, 5])
    for await (const { id } of client.pages({ to: 1_000_000 })) if (id === 2) break
    await until(() => seen.length === 6)
    expect(seen).toEqual(['from the start', 'over', 'from 3', 'over', 'from the start', 'over'])
  })

  it('refuses the input of a stream as it does that of a call', async () => {
    await using client = await connect()
    const pages = client.pages({ to: 'x' as unknown as number })[Symbol.asyncIterator]()
    await expect(pages.next()).rejects.toMatchObject({ kind: 'invalid-input' })
  })
})
