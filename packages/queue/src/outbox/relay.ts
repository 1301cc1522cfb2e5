import { setTimeout as delay } from 'node:timers/promises'
import type { Transport } from '@quintet/core'
import type { RunningTransport, TransportHost } from '@quintet/core/kit'
import { checkOut } from './check-out.ts'
import { relayBatch, type AfterBatch } from './relay-batch.ts'
import {
  resolveRelayOptions,
  type RelayClient,
  type RelayOptions,
  type RelayPool,
  type ResolvedRelay,
} from './relay-options.ts'

/** How long a batch in progress may take once the process closes, in milliseconds. */
const closeTime = 500
const pruneEvery = 3_600_000
const longestPause = 5_000

/**
 * A transport that hands the events of the outbox on, as soon as they are committed.
 *
 * Each batch is claimed, delivered and deleted in one transaction, so a crash loses no event, and what it delivered
 * last is delivered again. Events with one key keep their order, also under several relays.
 *
 * @throws TypeError for options that are unknown or make no sense.
 */
export function relay(options: RelayOptions): Transport {
  const resolved = resolveRelayOptions(options)
  return {
    name: 'outbox-relay',
    start: (host) => Promise.resolve(startRelay(resolved, host)),
  }
}

function startRelay(options: ResolvedRelay, host: TransportHost): RunningTransport {
  const { logger } = host
  const stopping = new AbortController()
  const bell = createBell()
  stopping.signal.addEventListener('abort', bell.ring, { once: true })
  let inBatch: RelayClient | undefined
  let listener: Listener | undefined
  let prunedAt = 0

  const withClient = async <Result>(run: (client: RelayClient) => Promise<Result>): Promise<Result> => {
    const client = await checkOut(options.pool)
    inBatch = client
    let broken: Error | undefined
    try {
      return await run(client)
    } catch (error) {
      broken = error as Error
      throw error
    } finally {
      // A client that failed in a transaction is dropped, and the transaction with it.
      if (inBatch === client) client.release(broken)
      inBatch = undefined
    }
  }

  const prune = async (): Promise<void> => {
    if (performance.now() - prunedAt < pruneEvery && prunedAt !== 0) return
    prunedAt = performance.now()
    const age = options.deadRetention / 1_000
    await withClient((client) =>
      client.query('delete from outbox where dead_at < now() - make_interval(secs => $1)', [age]),
    )
  }

  const relayAll = async (): Promise<AfterBatch> => {
    for (;;) {
      const after = await withClient((client) => relayBatch(client, options, logger))
      if (after !== 'again' || stopping.signal.aborted) return after
    }
  }

  const work = async (): Promise<void> => {
    let pause = 0
    while (!stopping.signal.aborted) {
      bell.reset()
      try {
        // Listens before it looks, so that nothing is committed unseen in between.
        if (listener === undefined || listener.lost) listener = await listen(options.pool, bell.ring)
        await prune()
        pause = (await relayAll()) === 'pause' ? nextPause(pause) : 0
      } catch (error) {
        if (stopping.signal.aborted) break
        pause = nextPause(pause)
        logger.warn({ err: error, retryInMs: pause }, 'the outbox relay will try again')
      }
      if (stopping.signal.aborted) break
      // In a pause, a notification changes nothing.
      if (pause > 0) await delay(pause, undefined, { signal: stopping.signal }).catch(() => undefined)
      else await bell.heard(options.poll)
    }
    listener?.close()
  }

  const working = work()
  addHealthCheck(options.pool, host)

  const stop = (): Promise<void> => {
    stopping.abort()
    return working
  }
  return {
    url: undefined,
    async drain(_reason, signal) {
      await Promise.race([stop(), aborted(signal)])
    },
    async close() {
      const ended = await Promise.race([stop().then(() => true), delay(closeTime, false)])
      if (ended) return
      // Breaks the transaction off: its events stay in the table.
      const client = inBatch
      inBatch = undefined
      client?.release(true)
      listener?.close()
    },
  }
}

function nextPause(pause: number): number {
  return Math.min(longestPause, pause * 2 + 100)
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve()
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
}

interface Bell {
  readonly ring: () => void
  reset(): void
  /** Resolves when it was rung since the last reset, or after the time. */
  heard(ms: number): Promise<void>
}

function createBell(): Bell {
  let rung = Promise.withResolvers<void>()
  return {
    ring: () => rung.resolve(),
    reset() {
      rung = Promise.withResolvers()
    },
    async heard(ms) {
      const timer = setTimeout(rung.resolve, ms)
      await rung.promise
      clearTimeout(timer)
    },
  }
}

interface Listener {
  readonly lost: boolean
  close(): void
}

async function listen(pool: RelayPool, ring: () => void): Promise<Listener> {
  const client = await checkOut(pool)
  let released = false
  const close = (): void => {
    if (released) return
    released = true
    client.release(true)
  }
  const onLost = (): void => {
    close()
    ring()
  }
  client.on('notification', ring)
  client.on('error', onLost)
  client.on('end', onLost)
  try {
    await client.query('listen outbox')
  } catch (error) {
    close()
    throw error
  }
  return {
    get lost() {
      return released
    },
    close,
  }
}

function addHealthCheck(pool: RelayPool, host: TransportHost): void {
  host.health.add({
    name: 'outbox',
    critical: false,
    async check() {
      const client = await checkOut(pool)
      try {
        const { rows } = await client.query(
          `select count(*) filter (where dead_at is null)::int as pending, count(*) filter (where dead_at is not null)::int as dead,
             coalesce(extract(epoch from now() - min(created_at) filter (where dead_at is null)), 0)::float as age from outbox`,
        )
        const { pending, dead, age } = rows[0] as { pending: number; dead: number; age: number }
        const detail = `${pending} pending, ${dead} dead, the oldest waits for ${Math.round(age)} s`
        if (dead > 0) throw new Error(detail)
        return detail
      } finally {
        client.release()
      }
    },
  })
}
