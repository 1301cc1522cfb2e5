import { randomUUID } from 'node:crypto'
import { isQuintetError } from '@quintet/core'
import { createRandom, postgresUrl } from '@quintet/test-kit'
import { Pool } from 'pg'
import { expect, it } from 'vitest'
import { reconcile } from '../src/reconciliation.ts'
import { openLedger, type LedgerFixture, type Member } from './ledger-fixture.ts'

type Random = (below: number) => number

/** Ends connections of the tenants' login in the midst of their work, until told to stop. */
async function sabotage({ database }: LedgerFixture, random: Random, done: AbortSignal): Promise<number> {
  const admin = new Pool({ connectionString: postgresUrl(), max: 1 })
  const name = new URL(database.url).pathname.slice(1)
  let ended = 0
  while (!done.aborted) {
    const { rowCount } = await admin.query(
      `select pg_terminate_backend(pid) from pg_stat_activity, pg_sleep($2 / 1000.0)
       where datname = $1 and usename like '%_login' order by md5(pid::text || $2) limit 1`,
      [name, 10 + random(40)],
    )
    ended += rowCount ?? 0
  }
  await admin.end()
  return ended
}

it.each([1, 2, 3])('adds up after any interleaving of crashes and retries (seed %i)', async (seed) => {
  await using ledger = await openLedger()
  const random = createRandom(seed)
  const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T
  const owner = ledger.member(randomUUID(), 'owner')
  const accounts = await Promise.all(Array.from({ length: 4 }, () => owner.open()))
  for (const to of accounts) await owner.post({ kind: 'fund', to, amount: '10' })
  const made = new Map<string, string>()

  /** Comes back with the same key until there is an answer, as a careful client does; sometimes once more. */
  const insist = async (by: Member, order: Parameters<Member['post']>[0]): Promise<void> => {
    const key = randomUUID()
    for (let repeats = random(10) < 3 ? 2 : 1; repeats > 0;) {
      try {
        const { id } = await by.post(order, key)
        expect(made.get(key) ?? id).toBe(id)
        made.set(key, id)
        repeats--
      } catch (error) {
        if (isQuintetError(error) && error.code.startsWith('ERR_LEDGER')) return
      }
    }
  }
  const lane = async (): Promise<void> => {
    for (let count = 0; count < 25; count++) {
      const [from, to] = [pick(accounts), pick(accounts)]
      const amount = `${random(5)}.${10 + random(90)}`
      const chance = random(10)
      if (chance < 1) await insist(owner, { kind: 'fund', to, amount })
      else if (chance < 2 && made.size > 0)
        await insist(owner, { kind: 'reversal', reverses: pick([...made.values()]) })
      else await insist(owner, { kind: 'transfer', from, to, amount })
    }
  }
  const over = new AbortController()
  const sabotaging = sabotage(ledger, random, over.signal)
  await Promise.all(Array.from({ length: 4 }, lane))
  over.abort()
  expect(await sabotaging).toBeGreaterThan(0)

  expect(await reconcile(ledger.db)).toEqual([])
  const { rows } = await ledger.database.systemPool.query<{ count: number; equity: string }>(
    `select (select count(*)::int from transfers) as count, (select sum(balance) from accounts) as equity`,
  )
  // Those that brought the money in, and one for each key that was answered.
  expect(rows[0]).toEqual({ count: accounts.length + made.size, equity: '0' })
})
