import { randomUUID } from 'node:crypto'
import type { Duration } from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'
import { QueueError } from '../errors.ts'
import { assertText } from '../postgres/assert-text.ts'
import { assertTransaction, execute, type PgExecutor, type SqlExecutor } from '../postgres/sql-executor.ts'

/** The right to do, for a while, what only one may do at a time. Each acquisition makes a handle of its own. */
export interface Lease {
  readonly name: string
  /** This acquisition: the name of the process, and an id of its own. */
  readonly holder: string
  /** The fencing token: grows with each acquisition; what is written under the lease can carry it. */
  readonly epoch: bigint
}

export interface LeasesOptions {
  /** Connections of the system login. */
  readonly pool: PgExecutor
  /** Names the process, for operators. */
  readonly holder: string
  /** How long a lease is held without being renewed. @defaultValue `'30s'` */
  readonly duration?: Duration
}

/** What applies where {@link LeasesOptions} says nothing. */
export const leasesDefaults = Object.freeze({ duration: '30s' } as const)

export interface HoldOptions {
  /** Aborts the signal of the function, e.g. when the process stops. Once aborted, nothing is acquired. */
  readonly signal?: AbortSignal
}

/** Leases over the table of `leaseMigration`. The clock is that of PostgreSQL. */
export interface Leases {
  /**
   * Takes the lease if it is free or has run out; undefined while it is held, also by this process. Never waits for
   * a transaction of another.
   */
  acquire(name: string): Promise<Lease | undefined>
  /** Renews the lease; false when it has run out or changed hands, and then for ever. */
  renew(lease: Lease): Promise<boolean>
  /** Releases the lease; nothing happens when it is no longer held. */
  release(lease: Lease): Promise<void>
  /**
   * Locks the lease for the rest of the transaction, so that what is written in it counts only for its holder. It
   * changes hands only after the transaction has ended.
   *
   * @throws QueueError `ERR_QUEUE_LEASE_LOST` (conflict) when it has run out or changed hands; roll back.
   */
  fence(transaction: SqlExecutor, lease: Lease): Promise<void>
  /**
   * Runs the function while the lease is held: renews it every third of its duration, and releases it at the end. The
   * signal aborts when it is lost; every write should be fenced all the same. A release that fails changes nothing of
   * the result: the lease runs out.
   *
   * @returns what the function returned, or undefined when the lease is held.
   */
  hold<Result>(
    name: string,
    run: (lease: Lease, signal: AbortSignal) => Promise<Result>,
    options?: HoldOptions,
  ): Promise<{ readonly result: Result } | undefined>
}

const holdSpec = { signal: option.signal() }

const spec = {
  pool: option.collaborator<PgExecutor>(['query'], 'a pool of pg'),
  holder: option.text(),
  duration: option.delay(leasesDefaults.duration, { min: 10 }),
}

/**
 * Makes leases for one process.
 *
 * @throws TypeError for options that are unknown or make no sense.
 *
 * @example
 * const leases = createLeases({ pool: systemPool, holder: 'settlement' })
 * await leases.hold('settlement', async (lease, signal) => {
 *   await db.transaction().execute(async (trx) => {
 *     await leases.fence(trx, lease)
 *     await settle(trx, signal)
 *   })
 * })
 */
export function createLeases(options: LeasesOptions): Leases {
  const { pool, holder, duration } = readOptions<LeasesOptions, typeof spec>(options, spec, 'createLeases')
  const seconds = duration / 1_000

  const leases: Leases = {
    async acquire(name) {
      assertText(name, 1_000, 'acquire: the name of the lease')
      const handle = `${holder}#${randomUUID()}`
      const [row] = await execute<{ epoch: string }>(pool, acquireStatement, [name, handle, seconds])
      return row && { name, holder: handle, epoch: BigInt(row.epoch) }
    },
    async renew(lease) {
      const rows = await execute(
        pool,
        `update leases set expires_at = clock_timestamp() + make_interval(secs => $4)
         where name = $1 and holder = $2 and epoch = $3 and expires_at > clock_timestamp() returning 1`,
        [lease.name, lease.holder, lease.epoch, seconds],
      )
      return rows.length > 0
    },
    async release(lease) {
      await execute(
        pool,
        'update leases set expires_at = clock_timestamp() where name = $1 and holder = $2 and epoch = $3 and expires_at > clock_timestamp()',
        [lease.name, lease.holder, lease.epoch],
      )
    },
    async fence(transaction, lease) {
      assertTransaction(transaction, `fence ${lease.name}`)
      const rows = await execute(
        transaction,
        'select 1 from leases where name = $1 and holder = $2 and epoch = $3 and expires_at > clock_timestamp() for key share',
        [lease.name, lease.holder, lease.epoch],
      )
      if (rows.length === 0) throw lost(lease.name)
    },
    async hold(name, run, given = {}) {
      const { signal } = readOptions<HoldOptions, typeof holdSpec>(given, holdSpec, `hold ${name}`)
      signal?.throwIfAborted()
      const askedAt = performance.now()
      const lease = await leases.acquire(name)
      if (lease === undefined) return undefined
      const losing = new AbortController()
      const stopRenewing = keepRenewed(leases, lease, duration, askedAt, () => losing.abort(lost(name)))
      const signals = signal === undefined ? losing.signal : AbortSignal.any([losing.signal, signal])
      try {
        return { result: await run(lease, signals) }
      } finally {
        stopRenewing()
        await releaseInTime(leases, lease)
      }
    },
  }
  return leases
}

/**
 * Takes over a row that has run out, or makes one. Skips a row that a fenced transaction has locked instead of waiting
 * for its end; renewing and releasing touch no key, so they pass beside that lock.
 */
const acquireStatement = `
  with expired as (
    select name from leases where name = $1 and expires_at <= clock_timestamp() for update skip locked
  ), taken as (
    update leases set holder = $2, epoch = leases.epoch + 1, expires_at = clock_timestamp() + make_interval(secs => $3)
    from expired where leases.name = expired.name returning leases.epoch
  ), made as (
    insert into leases (name, holder, epoch, expires_at)
    select $1, $2, 1, clock_timestamp() + make_interval(secs => $3)
    where not exists (select 1 from leases where name = $1)
    on conflict do nothing returning epoch
  )
  select epoch from taken union all select epoch from made`

/** Renews a lease until told to stop; says once when it was lost or could not be renewed in time. */
function keepRenewed(
  leases: Leases,
  lease: Lease,
  duration: number,
  acquiredAt: number,
  onLost: () => void,
): () => void {
  let renewing = false
  let ended = false
  const stop = (): void => {
    ended = true
    clearInterval(renewal)
    clearTimeout(expiry)
  }
  const lose = (): void => {
    stop()
    onLost()
  }
  const expireAfter = (since: number): NodeJS.Timeout =>
    setTimeout(lose, Math.max(0, duration - (performance.now() - since)))
  const renew = async (): Promise<void> => {
    renewing = true
    const askedAt = performance.now()
    try {
      const renewed = await leases.renew(lease)
      if (ended) return
      if (!renewed) return lose()
      clearTimeout(expiry)
      expiry = expireAfter(askedAt)
    } catch {
      // Tried again at the next turn, as long as there is time.
    } finally {
      renewing = false
    }
  }
  // A timer of its own, so that the loss is known at the moment when it comes, and not after an answer or a turn.
  let expiry = expireAfter(acquiredAt)
  const renewal = setInterval(() => {
    if (!renewing) void renew()
  }, duration / 3)
  return stop
}

/** Releases in the time that a stop has for it; a lease that is not released runs out. */
async function releaseInTime(leases: Leases, lease: Lease): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  const timer = setTimeout(resolve, releaseTime)
  await Promise.race([leases.release(lease).catch(() => undefined), promise])
  clearTimeout(timer)
}

const releaseTime = 1_000

function lost(name: string): QueueError {
  return new QueueError('ERR_QUEUE_LEASE_LOST', `The lease ${name} has run out or changed hands.`)
}
