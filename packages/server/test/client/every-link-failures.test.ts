import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type Logger,
  procedure,
  QuintetError,
  type QuintetErrorOptions,
  service,
  silentLogger,
} from '@quintet/core'
import { createTestHost, type TestHost } from '@quintet/core/testing'
import { z } from 'zod'
import { createClient } from '../../src/client.ts'
import { alice, linkKinds } from '../support/links.ts'

const cycle: Record<string, unknown> = {}
cycle['self'] = cycle

/** Errors that no text can be made of. */
const untellable: Record<string, Partial<QuintetErrorOptions<string>>> = {
  'a BigInt among its details': { details: { balance: 10n } },
  'a cycle in its details': { details: cycle },
  'details that throw': {
    details: {
      toJSON() {
        throw new Error('No.')
      },
    },
  },
  'an unknown kind': { kind: 'teapot' as 'conflict' },
  'a retryAfter that is no time': { retryAfter: Number.NaN },
}

const bank = service('bank', {
  fail: procedure({ access: 'public', input: z.string() }, ({ input }): void => {
    throw new QuintetError('No.', { code: 'ERR_BANK', kind: 'conflict', ...untellable[input] })
  }),
  failLater: procedure(
    { access: 'public', input: z.string(), stream: z.number() },
    async function* ({ input }) {
      yield 1
      throw new QuintetError('No.', { code: 'ERR_BANK', kind: 'conflict', ...untellable[input] })
    },
  ),
  balance: procedure({ access: 'public', output: z.any() }, () => ({ balance: 10n })),
  balances: procedure({ access: 'public', stream: z.any() }, async function* () {
    yield 1
    yield { balance: 10n }
  }),
  gaps: procedure({ access: 'public', stream: z.any() }, async function* () {
    yield { id: 1 }
    yield undefined
    yield () => 1
    yield null
    yield { id: 2 }
  }),
  ok: procedure({ access: 'public', output: z.string() }, () => 'ok'),
})

let directory: string
let host: TestHost
let logged: unknown[]
let outcomes: string[]
beforeEach(async () => {
  logged = []
  outcomes = []
  directory = await mkdtemp(join(tmpdir(), 'ql-'))
  const logger: Logger = {
    ...silentLogger,
    error: (fields: unknown) => void logged.push((fields as { err?: unknown }).err),
    child: () => logger,
  }
  host = createTestHost({
    services: [bank],
    tokens: { alice },
    logger,
    observers: [{ onSettled: ({ outcome }) => void outcomes.push(outcome) }],
  })
})
afterEach(async () => {
  await host.close()
  await rm(directory, { recursive: true })
})

describe.each(Object.entries(linkKinds))('%s', (_name, open) => {
  const internal = { code: 'ERR_CORE_INTERNAL', kind: 'internal' }

  it.each(Object.keys(untellable))(
    'tells an error with %s as an internal one, with the cause in the log',
    async (what) => {
      await using link = await open(host, directory)
      const client = createClient<typeof bank>(link).bank
      await expect(client.fail(what)).rejects.toMatchObject(internal)
      const events = client.failLater(what)[Symbol.asyncIterator]()
      expect(await events.next()).toEqual({ value: 1, done: false })
      await expect(events.next()).rejects.toMatchObject(internal)
      expect(logged).toEqual([
        expect.objectContaining({ message: expect.stringContaining('cannot be told to its caller') }),
        expect.objectContaining({ message: expect.stringContaining('cannot be told to its caller') }),
      ])
      expect(await client.ok()).toBe('ok')
    },
  )

  it('counts and logs a call whose result cannot be sent as failed', async () => {
    await using link = await open(host, directory)
    const client = createClient<typeof bank>(link).bank
    await expect(client.balance()).rejects.toMatchObject(internal)
    const events = client.balances()[Symbol.asyncIterator]()
    expect(await events.next()).toEqual({ value: 1, done: false })
    await expect(events.next()).rejects.toMatchObject(internal)
    expect(logged).toEqual([
      expect.objectContaining({ message: expect.stringContaining('BigInt') }),
      expect.objectContaining({ message: expect.stringContaining('BigInt') }),
    ])
    expect(outcomes.filter((outcome) => outcome === 'internal')).toHaveLength(2)
  })

  it('gives an event that JSON leaves out as undefined, each once', async () => {
    await using link = await open(host, directory)
    const got: unknown[] = []
    for await (const event of createClient<typeof bank>(link).bank.gaps()) if (got.push(event) > 8) break
    expect(got).toEqual([{ id: 1 }, undefined, undefined, null, { id: 2 }])
  })
})
