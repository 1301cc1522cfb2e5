import { setTimeout as delay } from 'node:timers/promises'
import type { Logger } from '@quintet/core'
import { sql, type Kysely } from 'kysely'

/** The same key in every migrator; apart from those of provisioning and of the schema. */
const key = '6051432110874520579'

/** When whoever waits is told for whom, first and then again and again, in milliseconds. */
const firstNotice = 1_000
const nextNotice = 60_000

/**
 * Runs the function while no other migrator runs in the database, on the connection that holds the lock: so that it is
 * never idle beside the work, and whatever cuts it ends the work too. It asks again and again instead of waiting in
 * a statement: a waiting one holds a snapshot, for which CREATE INDEX CONCURRENTLY of the holder would wait. There is no
 * limit, since a migration may take hours; who holds the lock is logged.
 */
export async function withMigrationLock<Result>(
  db: Kysely<unknown>,
  logger: Logger,
  run: (connection: Kysely<unknown>) => Promise<Result>,
): Promise<Result> {
  return db.connection().execute(async (connection) => {
    let noticeAt = performance.now() + firstNotice
    for (;;) {
      const { rows } = await sql<{
        held: boolean
      }>`select pg_try_advisory_lock(${key}::bigint) as held`.execute(connection)
      if (rows[0]?.held === true) break
      if (performance.now() >= noticeAt) {
        noticeAt = performance.now() + nextNotice
        logger.warn(await holderOf(connection), 'waiting for another migrator')
      }
      await delay(50 + Math.random() * 50)
    }
    try {
      return await run(connection)
    } finally {
      // Where the connection is lost, so is the lock; what was done stays done.
      await sql`select pg_advisory_unlock(${key}::bigint)`.execute(connection).catch(() => undefined)
    }
  })
}

/** The session that holds the lock: one whose machine has vanished stays until the server notices, or it is terminated by its pid. */
async function holderOf(connection: Kysely<unknown>): Promise<object> {
  const { rows } =
    await sql<object>`select pid, client_addr::text as address, application_name as application,
    date_trunc('second', state_change)::text as "lastActive", state
    from pg_catalog.pg_locks join pg_catalog.pg_stat_activity using (pid)
    where locktype = 'advisory' and granted and objsubid = 1
    and (classid::bigint << 32) | objid::bigint = ${key}::bigint`.execute(connection)
  return rows[0] ?? {}
}
