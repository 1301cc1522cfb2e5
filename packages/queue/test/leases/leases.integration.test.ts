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

  it('keeps the epoch when its holder renews it, and raises it when it changes hands', async () => {
    const name = randomUUID()
    const first = holder('first')
    const second = holder('second')
    const lease = (await first.acquire(name)) as Lease
    expect((await first.acquire(name))?.epoch).toBe(lease.epoch)
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

  it('lets nobody take over before a fenced transaction has ended', async () => {
    const name = randomUUID()
    const first = holder('first', 1_000)
    const second = holder('second')
    const lease = (await first.acquire(name)) as Lease
    const order: string[] = []
    let taking: Promise<unknown> | undefined
    await inTransaction(async (trx) => {
      await first.fence(trx, lease)
      taking = until(() => second.acquire(name)).then(() => order.push('taken over'))
      // By now the lease has run out, and the other one asks.
      await new Promise((resolve) => setTimeout(resolve, 1_200))
      order.push('written')
    })
    await taking
    expect(order).toEqual(['written', 'taken over'])
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

  it('refuses options that it does not know or that make no sense', () => {
    expect(() => createLeases({ pool: tables.system, holder: 'x', ttl: 1 } as never)).toThrow(
      'unknown key "ttl"',
    )
    expect(() => createLeases({ pool: tables.system, holder: '' })).toThrow('holder must name the process')
    expect(() => createLeases({ pool: tables.system, holder: 'x', duration: 1 })).toThrow('at least 10 ms')
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
