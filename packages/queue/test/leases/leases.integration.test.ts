import { randomUUID } from 'node:crypto'
import { until } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createLeases, recoverStale, type Lease, type Leases } from '../../src/index.ts'
import { createTestTables, type TestTables } from '../postgres/test-tables.ts'

let tables: TestTables
beforeAll(async () => {
  tables = await createTestTables()
})
afterAll(async () => {
  await tables[Symbol.asyncDispose]()
})

const holder = (name: string, duration: number | '30s' = '30s'): Leases =>
  createLeases({ pool: tables.system, holder: `${name}-${randomUUID()}`, duration })

/** By the clock of the database, which a renewal goes by. */
async function hasExpired(name: string): Promise<void> {
  const expired = `select 1 from leases where name = $1 and expires_at < clock_timestamp()`
  await until(async () => (await tables.owner.query(expired, [name])).rowCount === 1)
}

async function inTransaction(
  run: (client: Parameters<Leases['fence']>[0]) => Promise<unknown>,
): Promise<void> {
  const client = await tables.system.connect()
  try {
    await client.query('begin')
    await run(client)
    await client.query('commit')
  } catch (error) {
    await client.query('rollback')
    throw error
  } finally {
    client.release()
  }
}

describe('createLeases', () => {
  it('gives a lease to one of many that ask at once', async () => {
    const name = randomUUID()
    const asked = await Promise.all(Array.from({ length: 10 }, (_, n) => holder(`h${n}`).acquire(name)))
    expect(asked.filter((lease) => lease !== undefined)).toHaveLength(1)
  })

  it('excludes within one process as well', async () => {
    const name = randomUUID()
    const one = holder('one')
    let refused = 0
    const answers = await Promise.all(
      Array.from({ length: 3 }, async () => {
        // Held until the others have been answered.
        const answer = await one.hold(name, async () => until(() => refused === 2))
        if (answer === undefined) refused++
        return answer
      }),
    )
    expect(answers.filter((answer) => answer !== undefined)).toHaveLength(1)
  })

  it('gives a handle that has run out nothing back, though nobody else took it', async () => {
    const short = holder('short', 20)
    const lease = (await short.acquire(randomUUID())) as Lease
    await hasExpired(lease.name)
    const again = (await short.acquire(lease.name)) as Lease
    expect(again.epoch).toBe(lease.epoch + 1n)
    expect(await short.renew(lease)).toBe(false)
    await expect(inTransaction((trx) => short.fence(trx, lease))).rejects.toMatchObject({
      code: 'ERR_QUEUE_LEASE_LOST',
    })
  })

  it('is renewed beside a fenced transaction of its own', async () => {
    const own = holder('own', 400)
    const lease = (await own.acquire(randomUUID())) as Lease
    await inTransaction(async (trx) => {
      await own.fence(trx, lease)
      expect(await own.renew(lease)).toBe(true)
    })
  })

  it('returns the result of work whose release fails', async () => {
    let broken = false
    const pool = {
      query: (text: string, values: unknown[]) =>
        broken ? Promise.reject(new Error('away')) : tables.system.query(text, values),
    }
    const leases = createLeases({ pool, holder: 'unlucky' })
    const answer = await leases.hold(randomUUID(), () => {
      broken = true
      return Promise.resolve('done')
    })
    expect(answer).toEqual({ result: 'done' })
  })

  it('passes the signal of the caller on', async () => {
    const stopping = new AbortController()
    await holder('stopped').hold(
      randomUUID(),
      async (_lease, signal) => {
        stopping.abort(new Error('stop'))
        await until(() => signal.aborted)
      },
      { signal: stopping.signal },
    )
  })

  it('keeps the epoch when its holder renews it, and raises it when it changes hands', async () => {
    const name = randomUUID()
    const first = holder('first')
    const second = holder('second')
    const lease = (await first.acquire(name)) as Lease
    expect(await first.renew(lease)).toBe(true)
    expect(await second.acquire(name)).toBeUndefined()
    await first.release(lease)
    const taken = (await second.acquire(name)) as Lease
    expect(taken.epoch).toBe(lease.epoch + 1n)
    await first.release(lease)
    await inTransaction((trx) => second.fence(trx, taken))
  })

  it('refuses the writes of a holder that was too slow', async () => {
    const name = randomUUID()
    const slow = holder('slow', 30)
    const quick = holder('quick')
    const lease = (await slow.acquire(name)) as Lease
    const taken = await until(() => quick.acquire(name))
    await expect(inTransaction((trx) => slow.fence(trx, lease))).rejects.toMatchObject({
      code: 'ERR_QUEUE_LEASE_LOST',
      kind: 'conflict',
    })
    await inTransaction((trx) => quick.fence(trx, taken))
  })

  it('refuses the writes of a lease that has run out, though nobody has taken it', async () => {
    const short = holder('short', 20)
    const lease = (await short.acquire(randomUUID())) as Lease
    await until(() =>
      inTransaction((trx) => short.fence(trx, lease)).then(
        () => false,
        () => true,
      ),
    )
  })

  it('changes hands only after a fenced transaction has ended, and nobody who asks waits for that', async () => {
    const name = randomUUID()
    const first = holder('first', 200)
    const second = holder('second')
    const lease = (await first.acquire(name)) as Lease
    await inTransaction(async (trx) => {
      await first.fence(trx, lease)
      await hasExpired(name)
      expect(await second.acquire(name)).toBeUndefined()
    })
    expect(await second.acquire(name)).toMatchObject({ epoch: lease.epoch + 1n })
  })

  it('holds a lease for longer than its duration while the work lasts, and releases it then', async () => {
    const name = randomUUID()
    const long = holder('long', 800)
    const other = holder('other')
    const answer = await long.hold(name, async (lease, signal) => {
      const end = performance.now() + 1_600
      while (performance.now() < end) {
        expect(await other.acquire(name)).toBeUndefined()
        await new Promise((resolve) => setTimeout(resolve, 25))
      }
      expect(signal.aborted).toBe(false)
      return lease.epoch
    })
    expect(answer).toEqual({ result: 1n })
    expect(await other.acquire(name)).toBeDefined()
    expect(await long.hold(name, () => Promise.resolve('never'))).toBeUndefined()
  })

  it('aborts the signal when the lease is lost', async () => {
    const name = randomUUID()
    await holder('unlucky', 60).hold(name, async (_lease, signal) => {
      await tables.owner.query(
        `update leases set holder = 'thief', epoch = epoch + 1, expires_at = now() + interval '1 hour' where name = $1`,
        [name],
      )
      await until(() => signal.aborted)
      expect(signal.reason).toMatchObject({ code: 'ERR_QUEUE_LEASE_LOST' })
    })
  })

  it('aborts the signal at the moment when the lease runs out, though nothing answers', async () => {
    let silent = false
    const pool = {
      query: (text: string, values: unknown[]) =>
        silent ? new Promise<never>(() => undefined) : tables.system.query(text, values),
    }
    const leases = createLeases({ pool, holder: 'cut off', duration: 1_000 })
    const other = holder('other')
    await leases.hold(randomUUID(), async (lease, signal) => {
      silent = true
      const losing = Promise.withResolvers<number>()
      signal.addEventListener('abort', () => losing.resolve(performance.now()))
      const lostAt = losing.promise
      await until(() => other.acquire(lease.name))
      const takenAt = performance.now()
      expect((await lostAt) - takenAt).toBeLessThan(200)
    })
  })

  it('acquires nothing for a caller that has given up', async () => {
    const name = randomUUID()
    let ran = false
    const signal = AbortSignal.abort(new Error('stopped'))
    const asked = holder('late').hold(name, async () => void (ran = true), { signal })
    await expect(asked).rejects.toThrow('stopped')
    expect(ran).toBe(false)
    expect(await holder('other').acquire(name)).toMatchObject({ epoch: 1n })
  })

  it('refuses names that PostgreSQL cannot keep, pools for transactions and unknown options', async () => {
    const leases = holder('strict')
    for (const name of ['', 'a\0', 'n'.repeat(1_001)]) {
      await expect(leases.acquire(name)).rejects.toMatchObject({ code: 'ERR_QUEUE_BAD_NAME' })
    }
    const lease = (await leases.acquire(randomUUID())) as Lease
    await expect(leases.fence(tables.system, lease)).rejects.toThrow('needs a transaction')
    await expect(leases.hold(randomUUID(), () => Promise.resolve(), { sinal: 1 } as never)).rejects.toThrow(
      'Did you mean "signal"?',
    )
  })

  it('refuses options that it does not know or that make no sense', () => {
    expect(() => createLeases({ pool: tables.system, holder: 'x', ttl: 1 } as never)).toThrow(
      'unknown key "ttl"',
    )
    expect(() => createLeases({ pool: tables.system, holder: '' })).toThrow('createLeases.holder')
    expect(() => createLeases({ pool: tables.system, holder: 'x', duration: 1 })).toThrow(
      'createLeases.duration',
    )
  })
})

describe('recoverStale', () => {
  it('recovers four at a time what dead owners left, and touches nothing that a live owner holds', async () => {
    const items = Array.from({ length: 12 }, () => randomUUID())
    const living = holder('living')
    await living.acquire(items[0] ?? '')
    await living.acquire(items[5] ?? '')
    let running = 0
    let most = 0
    const touched: string[] = []
    const report = await recoverStale({
      leases: holder('recovery'),
      items,
      leaseOf: (item) => item,
      recover: async (item) => {
        most = Math.max(most, ++running)
        await until(() => most >= 4)
        touched.push(item)
        running--
        if (item === items[7]) throw new Error('broken')
      },
    })
    expect(report).toMatchObject({ recovered: 9, held: 2, failed: [{ item: items[7] }] })
    expect(most).toBe(4)
    expect(touched).not.toContain(items[0])
    expect(touched).not.toContain(items[5])
  })

  it('ends early when told to, and runs as many at once as it is told', async () => {
    const controller = new AbortController()
    let ran = 0
    const report = await recoverStale({
      leases: holder('recovery'),
      items: Array.from({ length: 10 }, () => randomUUID()),
      leaseOf: (item) => item,
      recover: () => {
        if (++ran === 2) controller.abort()
        return Promise.resolve()
      },
      concurrency: 1,
      signal: controller.signal,
    })
    expect(report.recovered).toBe(2)
  })
})
