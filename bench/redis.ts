import { setImmediate as nextTurn } from 'node:timers/promises'
import { createRateLimiter, createRedisClients, createTrackedCache } from '@quintet/redis'
import type { TrackedCache } from '@quintet/redis'
import { Redis } from 'ioredis'
import { startRedis } from '../packages/orchestrator/src/infrastructure.ts'
import type { Bench, Figure } from './support/bench.ts'
import { median } from './support/statistics.ts'

/** What each row means. */
export const rows: Bench['rows'] = {
  'get-c1': { about: 'GET, one at a time', better: 'higher' },
  'get-c50': { about: 'GET, 50 at once', better: 'higher' },
  'get-cpu': { about: 'CPU of one GET', better: 'lower' },
  'limit-c50': { about: 'decisions of the rate limiter, 50 at once', better: 'higher' },
  'limit-cpu': { about: 'CPU of one decision', better: 'lower' },
  'tracked-get-c50': { about: 'reads of the tracked cache, 50 at once', better: 'higher' },
  'tracked-get-cpu': { about: 'CPU of one read of the tracked cache', better: 'lower' },
  'invalidation-p50': {
    about: 'from a write elsewhere until the cache no longer serves the entry, median',
    better: 'lower',
  },
  'invalidation-p99': { about: 'the same, 99th percentile', better: 'lower' },
}

const prefix = 'quintet-bench:'
const rounds = 5
const roundMs = 400

interface Sample {
  readonly perSecond: number
  /** CPU time of this process for one operation, in microseconds: steadier than the rate on a busy machine. */
  readonly cpu: number
}

/** Runs the operation for one round, so many at a time. */
async function runRound(concurrency: number, operation: () => Promise<unknown>): Promise<Sample> {
  const begin = performance.now()
  const cpuBefore = process.cpuUsage()
  let done = 0
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (performance.now() - begin < roundMs) {
        await operation()
        done += 1
        // What never waits must not keep the connections from being served.
        if (done % 1_000 === 0) await nextTurn()
      }
    }),
  )
  const { user, system } = process.cpuUsage(cpuBefore)
  return { perSecond: (done * 1_000) / (performance.now() - begin), cpu: (user + system) / done }
}

/** Both in turns, so that what else the machine does meets both; the medians. */
async function compare(
  concurrency: number,
  ours: () => Promise<unknown>,
  theirs: () => Promise<unknown>,
): Promise<{ ours: Sample; theirs: Sample }> {
  const samples: { ours: Sample; theirs: Sample }[] = []
  await runRound(concurrency, ours)
  await runRound(concurrency, theirs)
  for (let round = 0; round < rounds; round++) {
    samples.push({ ours: await runRound(concurrency, ours), theirs: await runRound(concurrency, theirs) })
  }
  const middle = (side: 'ours' | 'theirs'): Sample => ({
    perSecond: median(samples.map((sample) => sample[side].perSecond)),
    cpu: median(samples.map((sample) => sample[side].cpu)),
  })
  return { ours: middle('ours'), theirs: middle('theirs') }
}

/** From the revoking command to the moment at which the cache on another connection no longer serves the entry. */
async function measureInvalidation(cache: TrackedCache<string | null>, writer: Redis): Promise<number[]> {
  const latencies: number[] = []
  const key = `${prefix}invalidated`
  const heard = async (change: () => Promise<unknown>): Promise<number> => {
    const { promise, resolve } = Promise.withResolvers<number>()
    using _ = cache.onInvalidate((written) => {
      // Null: all was dropped, for the connection was lost; the next round is a fair one again.
      if (written === null || (written === key && cache.peek(key) === undefined)) resolve(performance.now())
    })
    await change()
    return promise
  }
  for (let index = 0; index < 500; index++) {
    await heard(() => writer.set(key, 'value', 'EX', 60))
    await cache.get(key)
    const begin = performance.now()
    latencies.push((await heard(() => writer.del(key))) - begin)
  }
  return latencies.toSorted((a, b) => a - b)
}

export default async function* measure(): AsyncIterable<Figure> {
  await using server = await startRedis()
  await using clients = await createRedisClients({ url: server.url })
  const client = clients.client('cache')
  const plain = new Redis(server.url, { db: 1 })
  try {
    const key = `${prefix}value`
    await client.set(key, 'x'.repeat(200), 'EX', 600)

    const { ours: one, theirs: plainOne } = await compare(
      1,
      () => client.get(key),
      () => plain.get(key),
    )
    yield ratio('get-c1', one.perSecond, '/s', 'plain ioredis', plainOne.perSecond)
    const { ours: fifty, theirs: plainFifty } = await compare(
      50,
      () => client.get(key),
      () => plain.get(key),
    )
    yield ratio('get-c50', fifty.perSecond, '/s', 'plain ioredis', plainFifty.perSecond)
    yield ratio('get-cpu', fifty.cpu, 'us', 'plain ioredis', plainFifty.cpu)

    const limiter = createRateLimiter({ client, prefix: `${prefix}limit:`, timeout: '5s' })
    const limit = { limit: 100_000, period: '1s' } as const
    const window = `${prefix}window`
    const { ours: limited, theirs: counted } = await compare(
      50,
      async () => {
        const { source } = await limiter.consume('key', limit)
        if (source !== 'redis') throw new Error('Redis did not decide: the machine is too busy to measure.')
      },
      () => plain.multi().incr(window).expire(window, 60, 'NX').exec(),
    )
    yield ratio('limit-c50', limited.perSecond, '/s', 'MULTI INCR EXPIRE EXEC', counted.perSecond)
    yield ratio('limit-cpu', limited.cpu, 'us', 'MULTI INCR EXPIRE EXEC', counted.cpu)

    await using cache = createTrackedCache({ client, prefix, load: (missing) => client.get(missing) })
    await cache.whenTrusted()
    await cache.get(key)
    const { ours: tracked, theirs: direct } = await compare(
      50,
      () => cache.get(key),
      () => client.get(key),
    )
    yield ratio('tracked-get-c50', tracked.perSecond, '/s', 'GET', direct.perSecond)
    yield ratio('tracked-get-cpu', tracked.cpu, 'us', 'GET', direct.cpu)
    const latencies = await measureInvalidation(cache, plain)
    for (const [name, share] of [
      ['invalidation-p50', 0.5],
      ['invalidation-p99', 0.99],
    ] as const) {
      const value = latencies[Math.floor(latencies.length * share)] ?? Number.NaN
      yield { name, value, unit: 'ms', against: '', ratio: null }
    }
    await plain.del(key, window)
  } finally {
    plain.disconnect()
  }
}

function ratio(name: string, value: number, unit: string, against: string, theirs: number): Figure {
  return { name, value, unit, against, ratio: value / theirs }
}
