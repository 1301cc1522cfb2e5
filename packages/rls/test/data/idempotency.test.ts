import { randomUUID } from 'node:crypto'
import { QuintetError } from '@quintet/core'
import { Kysely, PostgresDialect, sql } from 'kysely'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  eraseIdempotencyKeys,
  idempotencyPolicy,
  idempotencyTableSql,
  pruneIdempotencyKeys,
  withIdempotency,
} from '../../src/data.ts'
import { asSystem, runWithRlsContext } from '../../src/index.ts'
import { policiesToSql } from '../../src/migrations.ts'
import { attackIdempotency, runAttackMatrix } from '../../src/testing.ts'
import { createTwoTenants, tenantA, tenantB, userA, userB, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants
let db: Kysely<object>

beforeAll(async () => {
  fixture = await createTwoTenants()
  await fixture.asOwner(
    idempotencyTableSql,
    idempotencyTableSql,
    ...policiesToSql([idempotencyPolicy], fixture.roles),
  )
  db = new Kysely({ dialect: new PostgresDialect({ pool: fixture.pool({}, { max: 10 }) }) })
})
afterAll(() => fixture.drop())

interface Caller {
  readonly tenantId: string
  readonly userId: string
}

const owner: Caller = { tenantId: tenantA, userId: userA }
const colleague: Caller = { tenantId: tenantA, userId: userB }
const stranger: Caller = { tenantId: tenantB, userId: userB }

const refuse = (): never => {
  throw new QuintetError('Not yours.', { code: 'ERR_TEST_FORBIDDEN', kind: 'forbidden' })
}

/** Writes a note of the owner alone, once a key. */
const write = (caller: Caller, key: string, title: string, fail = false): Promise<unknown> =>
  runWithRlsContext(caller, () =>
    db.transaction().execute((trx) =>
      withIdempotency(
        trx,
        {
          caller,
          operation: 'write',
          key,
          payload: { title, by: { b: 1n, a: 2 } },
          authorize: () => caller.userId === userA || refuse(),
        },
        async () => {
          const { rows } = await sql<{ id: number }>`insert into notes (tenant_id, title, size)
            values (${caller.tenantId}, ${`${title} ${randomUUID()}`}, 1) returning id`.execute(trx)
          if (fail) throw new Error('failed')
          return rows[0]
        },
      ),
    ),
  )

describe('withIdempotency', () => {
  it('counts a key once, and gives it to no one else', async () => {
    const flaws = await attackIdempotency({
      call: write,
      owner,
      others: { colleague, stranger },
      payload: () => randomUUID(),
    })
    expect(flaws).toEqual([])
  })

  it('forgets a key whose call failed, and those that are old', async () => {
    const key = randomUUID()
    await expect(write(owner, key, 'a', true)).rejects.toThrow('failed')
    await expect(write(owner, key, 'b')).resolves.toMatchObject({ id: expect.any(Number) as number })
    await fixture.asAdmin(
      `update idempotency_keys set created_at = now() - interval '31 days' where key = $1`,
      [key],
    )
    expect(await asSystem('prune', () => pruneIdempotencyKeys(db, '30d'))).toBe(1)
    await expect(write(owner, key, 'c')).resolves.toBeDefined()
  })

  it('forgets the keys of a user, and those of a tenant, batch by batch', async () => {
    const erased = { tenantId: randomUUID(), userId: randomUUID() }
    const others = { tenantId: erased.tenantId, userId: randomUUID() }
    await fixture.asAdmin(
      `insert into idempotency_keys (tenant_id, user_id, operation, key, digest)
       select $1, who, 'write', i::text, '' from unnest($2::text[]) as who, generate_series(1, 25) as i`,
      [erased.tenantId, [erased.userId, others.userId]],
    )
    const erase = (subject: { tenantId: string; userId?: string }): Promise<number> =>
      asSystem('erase', () => eraseIdempotencyKeys(db, subject, { batch: 10 }))
    expect(await erase(erased)).toBe(25)
    expect(await erase({ tenantId: erased.tenantId })).toBe(25)
    const aborted = { batch: 10, signal: AbortSignal.abort(new Error('the process ends')) }
    await expect(eraseIdempotencyKeys(db, erased, aborted)).rejects.toThrow('the process ends')
    await expect(eraseIdempotencyKeys(db, erased, { bach: 10 } as never)).rejects.toThrow('bach')
  })

  it('refuses a key that is none, and what is no transaction', async () => {
    for (const key of ['', 'x'.repeat(201), 'a\0', 'abcdefgh\ud800'])
      await expect(write(owner, key, 'a')).rejects.toMatchObject({ code: 'ERR_RLS_INVALID_VALUE' })
    const call = { caller: owner, operation: 'x', key: 'k', payload: null, authorize: () => undefined }
    await expect(withIdempotency(db as never, call, async () => 1)).rejects.toThrow('needs a transaction')
  })

  it.each([
    ['a Map', new Map([['a', 1]]), 'payload.by: Map cannot be compared'],
    ['a number that is none', Number.NaN, 'payload.by: NaN cannot be compared'],
    ['a function', () => 1, 'cannot be compared'],
  ])('refuses a payload with %s', async (_, by, message) => {
    const call = {
      caller: owner,
      operation: 'x',
      key: 'unfit-payload',
      payload: { by },
      authorize: () => undefined,
    }
    const attempt = runWithRlsContext(owner, () =>
      db.transaction().execute((trx) => withIdempotency(trx, call, async () => 1)),
    )
    await expect(attempt).rejects.toThrow(message)
  })

  it('tells payloads apart that are alike as text, and takes none', async () => {
    const ask = (key: string, payload: unknown) =>
      runWithRlsContext(owner, () =>
        db
          .transaction()
          .execute((trx) =>
            withIdempotency(
              trx,
              { caller: owner, operation: 'alike', key, payload, authorize: () => undefined },
              async () => randomUUID(),
            ),
          ),
      )
    const answer = await ask('big-or-text', { a: 1n })
    expect(await ask('big-or-text', { a: 1n })).toBe(answer)
    await expect(ask('big-or-text', { a: '1' })).rejects.toMatchObject({ code: 'ERR_RLS_KEY_REUSED' })
    expect(await ask('no-payload', undefined)).toBe(await ask('no-payload', undefined))
    const day = new Date(0)
    expect(await ask('a-day', { day })).toBe(await ask('a-day', { day }))
    await expect(ask('a-day', { day: new Date(1) })).rejects.toMatchObject({ code: 'ERR_RLS_KEY_REUSED' })
  })

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['text that PostgreSQL has not', 'a\0 \ud800'],
  ])('gives a repetition the first result: %s', async (name, result) => {
    const ask = () =>
      runWithRlsContext(owner, () =>
        db.transaction().execute((trx) =>
          withIdempotency(
            trx,
            {
              caller: owner,
              operation: 'result',
              key: `of ${name}`,
              payload: 1,
              authorize: () => undefined,
            },
            async () => result,
          ),
        ),
      )
    expect(await ask()).toBe(result)
    expect(await ask()).toBe(result)
  })

  it('keeps the keys of tenants and users apart', async () => {
    const { failures } = await runAttackMatrix({ pool: fixture.pool(), policies: [idempotencyPolicy] })
    expect(failures).toEqual([])
  })
})

describe('attackIdempotency', () => {
  it('finds keys that are shared, not kept, or looked up before the caller is checked', async () => {
    const shared = new Map<string, string>()
    const call = async (_: Caller, key: string): Promise<string> => {
      const answer = shared.get(key) ?? randomUUID()
      shared.set(key, answer)
      return answer
    }
    const options = { owner, others: { colleague }, payload: () => randomUUID() }
    expect(await attackIdempotency({ ...options, call })).toEqual([
      'a key with another payload was answered, not refused as a conflict',
      "colleague with the owner's key was answered",
    ])
    expect(await attackIdempotency({ ...options, call: async () => randomUUID() })).toContain(
      'one key of one caller gave several answers',
    )
  })
})
