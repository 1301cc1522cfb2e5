import { Kysely, PostgresDialect, type Generated } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { defineKeyset, type Keyset } from '../../src/data.ts'
import { runWithRlsContext } from '../../src/index.ts'
import { contextA, createTwoTenants, tenantA, type TwoTenants } from '../fixtures/two-tenants.ts'

interface Tables {
  notes: { id: Generated<number>; tenant_id: string; title: string; size: number }
}

let fixture: TwoTenants
let db: Kysely<Tables>

beforeAll(async () => {
  fixture = await createTwoTenants()
  db = new Kysely({ dialect: new PostgresDialect({ pool: fixture.pool() }) })
  const rows = Array.from({ length: 7 }, (_, index) => ({
    tenant_id: tenantA,
    title: `k${index}`,
    size: index % 3,
  }))
  await runWithRlsContext(contextA, () => db.insertInto('notes').values(rows).execute())
})
afterAll(() => fixture.drop())

const largestFirst = defineKeyset([
  { column: 'size', type: 'integer', direction: 'desc' },
  { column: 'title', type: 'text' },
])
const inOrder = defineKeyset([
  { column: 'notes.size', type: 'integer' },
  { column: 'notes.title', type: 'text' },
])

/** All titles, page by page, and how many pages that took. */
async function readAll(
  keyset: Keyset<'size' | 'title'>,
  limit: number,
): Promise<[readonly string[], number]> {
  const titles: string[] = []
  let [after, pages]: [string | undefined, number] = [undefined, 0]
  do {
    const page = await runWithRlsContext(contextA, () =>
      keyset.page(db.selectFrom('notes').select(['title', 'size']), { limit, after }),
    )
    titles.push(...page.items.map(({ title }) => title))
    after = page.next ?? undefined
    pages++
  } while (after !== undefined)
  return [titles, pages]
}

describe('defineKeyset', () => {
  it.each([1, 2, 3, 9, 10])('reads each row once, in order, in pages of %i', async (limit) => {
    const descending = ['k2', 'k5', 'k1', 'k4', 'a1', 'a2', 'k0', 'k3', 'k6']
    const ascending = ['a1', 'a2', 'k0', 'k3', 'k6', 'k1', 'k4', 'k2', 'k5']
    expect(await readAll(largestFirst, limit)).toEqual([descending, Math.ceil(9 / limit)])
    expect(await readAll(inOrder as never, limit)).toEqual([ascending, Math.ceil(9 / limit)])
  })

  it('refuses a cursor that is none, or of another list', async () => {
    const query = db.selectFrom('notes').select(['title', 'size'])
    const { next } = await runWithRlsContext(contextA, () => largestFirst.page(query, { limit: 1 }))
    const forged = Buffer.from(JSON.stringify([mark(next), '1 or true', 'a'])).toString('base64url')
    for (const [keyset, after] of [
      [inOrder, next ?? ''],
      [largestFirst, ''],
      [largestFirst, 'none'],
      [largestFirst, forged],
      [largestFirst, Buffer.from('null').toString('base64url')],
      [largestFirst, 'x'.repeat(70_000)],
    ] as const) {
      await expect(keyset.page(query, { limit: 1, after })).rejects.toMatchObject({
        code: 'ERR_RLS_BAD_CURSOR',
        kind: 'invalid-input',
      })
    }
  })

  it('refuses what makes no sense', async () => {
    expect(() => defineKeyset([])).toThrow('at least one column')
    expect(() => defineKeyset([{ column: 'at', type: 'timestamptz' as 'text' }])).toThrow('needs a type')
    expect(() =>
      defineKeyset([
        { column: 'orders.id', type: 'uuid' },
        { column: 'items.id', type: 'uuid' },
      ]),
    ).toThrow('two columns of one name')
    await expect(
      inOrder.page(db.selectFrom('notes').select(['title', 'size']), { limit: 0 }),
    ).rejects.toThrow('limit 0')
  })
})

function mark(cursor: string | null): unknown {
  return (JSON.parse(Buffer.from(cursor ?? '', 'base64url').toString()) as unknown[])[0]
}
