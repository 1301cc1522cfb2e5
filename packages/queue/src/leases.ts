import { parseDuration, type Duration } from '@quintet/core'
import { QueueError } from './errors.ts'
import { execute, type PgExecutor, type SqlExecutor } from './sql-executor.ts'

/** The right to do, for a while, what only one may do at a time. */
export interface Lease {
  readonly name: string
  readonly holder: string
  /** Grows each time the lease changes hands. */
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

export const leasesDefaults = Object.freeze({ duration: '30s' } as const)

/** Leases over the table of `leaseMigration`. The clock is that of PostgreSQL. */
export interface Leases {
  /** Takes the lease if it is free or run out, or renews one's own; undefined while somebody else holds it. */
  acquire(name: string): Promise<Lease | undefined>
  release(lease: Lease): Promise<void>
  /**
   * Locks the lease for the rest of the transaction, so that what is written in it counts only for its holder.
   *
   * @throws QueueError `ERR_QUEUE_LEASE_LOST` (conflict) when it has run out or changed hands; roll back.
   */
  fence(transaction: SqlExecutor, lease: Lease): Promise<void>
}

export function createLeases(options: LeasesOptions): Leases {
  const milliseconds = parseDuration(options.duration ?? leasesDefaults.duration, 'createLeases: duration')
  const { pool, holder } = options
  return {
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
        [name, holder, milliseconds / 1000],
      )
      return row && { name, holder, epoch: BigInt(row.epoch) }
    },
    async release(lease) {
      await execute(
        pool,
        'update leases set expires_at = clock_timestamp() where name = $1 and holder = $2 and epoch = $3',
        [lease.name, lease.holder, lease.epoch],
      )
    },
    async fence(transaction, lease) {
      const rows = await execute(
        transaction,
        `select 1 from leases where name = $1 and holder = $2 and epoch = $3 and expires_at > clock_timestamp() for update`,
        [lease.name, lease.holder, lease.epoch],
      )
      if (rows.length > 0) return
      throw new QueueError('ERR_QUEUE_LEASE_LOST', `The lease ${lease.name} has run out or changed hands.`)
    },
  }
}
