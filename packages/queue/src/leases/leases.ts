import type { Duration } from '@quintet/core'
import { parseDuration, refuseUnknownKeys } from '@quintet/core/kit'
import { QueueError } from '../errors.ts'
import { execute, type PgExecutor, type SqlExecutor } from '../postgres/sql-executor.ts'

/** The right to do, for a while, what only one may do at a time. */
export interface Lease {
  readonly name: string
  readonly holder: string
  /** Grows each time the lease changes hands; what is written under the lease can carry it. */
  readonly epoch: bigint
}

export interface LeasesOptions {
  /** Connections of the system login. */
  readonly pool: PgExecutor
  /** Who asks; unique for each process. */
  readonly holder: string
  /** How long a lease is held without being renewed. @defaultValue `'30s'` */
  readonly duration?: Duration
}

/** What applies where {@link LeasesOptions} says nothing. */
export const leasesDefaults = Object.freeze({ duration: '30s' } as const)

/** Leases over the table of `leaseMigration`. The clock is that of PostgreSQL. */
export interface Leases {
  /** Takes the lease if it is free or run out, or renews one's own; undefined while somebody else holds it. */
  acquire(name: string): Promise<Lease | undefined>
  /** Lets the lease go; nothing happens when it is no longer held. */
  release(lease: Lease): Promise<void>
  /**
   * Locks the lease for the rest of the transaction, so that what is written in it counts only for its holder. Nobody
   * can take it over before the transaction has ended.
   *
   * @throws QueueError `ERR_QUEUE_LEASE_LOST` (conflict) when it has run out or changed hands; roll back.
   */
  fence(transaction: SqlExecutor, lease: Lease): Promise<void>
  /**
   * Runs the function while the lease is held: renews it every third of its duration, and releases it at the end. The
   * signal aborts when it is lost; every write should be fenced all the same.
   *
   * @returns what the function returned, or undefined when somebody else holds the lease.
   */
  hold<Result>(
    name: string,
    run: (lease: Lease, signal: AbortSignal) => Promise<Result>,
  ): Promise<{ readonly result: Result } | undefined>
}

/**
 * Makes leases for one holder.
 *
 * @throws TypeError for options that are unknown or make no sense.
 */
export function createLeases(options: LeasesOptions): Leases {
  refuseUnknownKeys(options, ['pool', 'holder', 'duration'], 'createLeases')
  const { pool, holder } = options
  if (typeof holder !== 'string' || holder === '')
    throw new TypeError('createLeases: holder must name the process.')
  const milliseconds = parseDuration(options.duration ?? leasesDefaults.duration, 'createLeases: duration')
  if (milliseconds < 10) throw new TypeError('createLeases: duration must be at least 10 ms.')

  const leases: Leases = {
    async acquire(name) {
      const [row] = await execute<{ epoch: string }>(
        pool,
        `insert into leases as held (name, holder, epoch, expires_at)
         values ($1, $2, 1, clock_timestamp() + make_interval(secs => $3))
         on conflict (name) do update set
           holder = excluded.holder,
           epoch = held.epoch + case when held.holder = excluded.holder and held.expires_at > clock_timestamp() then 0 else 1 end,
           expires_at = excluded.expires_at
         where held.expires_at <= clock_timestamp() or held.holder = excluded.holder
         returning epoch`,
        [name, holder, milliseconds / 1_000],
      )
      return row && { name, holder, epoch: BigInt(row.epoch) }
    },
    async release(lease) {
      await execute(
        pool,
        'update leases set expires_at = clock_timestamp() where name = $1 and holder = $2 and epoch = $3 and expires_at > clock_timestamp()',
        [lease.name, lease.holder, lease.epoch],
      )
    },
    async fence(transaction, lease) {
      const rows = await execute(
        transaction,
        'select 1 from leases where name = $1 and holder = $2 and epoch = $3 and expires_at > clock_timestamp() for share',
        [lease.name, lease.holder, lease.epoch],
      )
      if (rows.length === 0) throw lost(lease.name)
    },
    async hold(name, run) {
      const lease = await leases.acquire(name)
      if (lease === undefined) return undefined
      const controller = new AbortController()
      const stopRenewing = keepRenewed(leases, lease, milliseconds, () => controller.abort(lost(name)))
      try {
        return { result: await run(lease, controller.signal) }
      } finally {
        await stopRenewing()
        await leases.release(lease)
      }
    },
  }
  return leases
}

/** Renews a lease until told to stop; says once when it was lost or could not be renewed in time. */
function keepRenewed(
  leases: Leases,
  lease: Lease,
  milliseconds: number,
  onLost: () => void,
): () => Promise<void> {
  let renewedAt = performance.now()
  let renewing: Promise<void> | undefined
  const renew = async (): Promise<void> => {
    const askedAt = performance.now()
    try {
      const renewed = await leases.acquire(lease.name)
      if (renewed?.epoch === lease.epoch) renewedAt = askedAt
      else onLost()
    } catch {
      if (performance.now() - renewedAt >= milliseconds) onLost()
    } finally {
      renewing = undefined
    }
  }
  const timer = setInterval(() => {
    renewing ??= renew()
  }, milliseconds / 3)
  return async () => {
    clearInterval(timer)
    await renewing
  }
}

function lost(name: string): QueueError {
  return new QueueError('ERR_QUEUE_LEASE_LOST', `The lease ${name} has run out or changed hands.`)
}
