import { PassThrough, Readable } from 'node:stream'
import Cursor from 'pg-cursor'
import { Kysely, PostgresDialect } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { asSystem, currentRlsContext, runWithRlsContext } from '../../src/index.ts'
import { contextA, contextB, createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants
let db: Kysely<{ notes: { title: string } }>

beforeAll(async () => {
  fixture = await createTwoTenants()
  db = new Kysely({ dialect: new PostgresDialect({ pool: fixture.pool(), cursor: Cursor }) })
})
afterAll(() => fixture.drop())

const notes = () => db.selectFrom('notes').select('title').orderBy('title')

const titlesOf = async (rows: AsyncIterable<{ title: string }>): Promise<string> => {
  const titles: string[] = []
  for await (const { title } of rows) titles.push(title)
  return titles.join(' ')
}

/** Stands for the query builders of libraries that send a statement as they are awaited. */
const lazily = (): PromiseLike<{ title: string }[]> => ({
  // oxlint-disable-next-line unicorn/no-thenable
  then: (...callbacks) =>
    notes()
      .execute()
      .then(...callbacks),
})

describe('what is returned out of a context and consumed in another one', () => {
  it('is worked on in its own: an async iterator', async () => {
    await runWithRlsContext(contextA, async () => {
      const stream = runWithRlsContext(contextB, () => notes().stream())
      expect(await titlesOf(stream)).toBe('b1 b2')
      const later = await runWithRlsContext(contextB, async () => notes().stream())
      expect(await titlesOf(later)).toBe('b1 b2')
      const all = asSystem('read', () => notes().stream())
      expect(await titlesOf(all)).toBe('a1 a2 b1 b2')
      expect(await notes().execute()).toHaveLength(2)
    })
  })

  it('is worked on in its own: a thenable that starts as it is awaited', async () => {
    await runWithRlsContext(contextA, async () => {
      const rows = await runWithRlsContext(contextB, lazily)
      expect(rows.map(({ title }) => title)).toEqual(['b1', 'b2'])
    })
  })

  it('is worked on in its own: what is iterated asynchronously, and streams of Node', async () => {
    const read = async function* () {
      yield* await notes().execute()
    }
    const iterable = () => ({ [Symbol.asyncIterator]: read })
    await runWithRlsContext(contextA, async () => {
      expect(await titlesOf(runWithRlsContext(contextB, iterable))).toBe('b1 b2')
      expect(await titlesOf(await runWithRlsContext(contextB, async () => iterable()))).toBe('b1 b2')
      expect(await titlesOf(runWithRlsContext(contextB, () => Readable.from(read())))).toBe('b1 b2')
      const piped = runWithRlsContext(contextB, () => Readable.from(read()))
      expect(await titlesOf(piped.pipe(new PassThrough({ objectMode: true })))).toBe('b1 b2')
      expect(await titlesOf(asSystem('export', () => Readable.from(read())))).toBe('a1 a2 b1 b2')
    })
  })

  it('is worked on in its own: what the helpers of an iterator make, whose callbacks are the caller’s', async () => {
    const reads = function* () {
      yield notes().execute()
      yield notes().execute()
    }
    await runWithRlsContext(contextA, async () => {
      const all = await Promise.all(runWithRlsContext(contextB, reads).toArray())
      expect(all.flat().map(({ title }) => title)).toEqual(['b1', 'b2', 'b1', 'b2'])
      const mapped = runWithRlsContext(contextB, reads).map((rows) => [rows, currentRlsContext()] as const)
      for (const [rows, context] of mapped) {
        expect((await rows).map(({ title }) => title)).toEqual(['b1', 'b2'])
        expect(context).toMatchObject(contextA)
      }
    })
  })

  it('keeps the members of a frozen object', () => {
    const wizard = Object.freeze({ step: 1, next: () => 2 })
    const returned = runWithRlsContext(contextA, () => wizard)
    expect({ ...returned, next: returned.next() }).toEqual({ step: 1, next: 2 })
  })

  it('is the same value, if it does nothing of its own', () => {
    const value = { a: 1 }
    expect(runWithRlsContext(contextA, () => value)).toBe(value)
    const list = [1]
    expect(runWithRlsContext(contextA, () => list)).toBe(list)
  })
})
