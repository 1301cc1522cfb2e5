import { setTimeout as delay } from 'node:timers/promises'
import { sql, type Kysely } from 'kysely'

/** The same key in every migrator; apart from those of provisioning and of the schema. */
const key = '6051432110874520579'

/**
 * Runs the function while no other migrator runs in the database, on the connection that holds the lock: so that it is
 * never idle beside the work, and whatever cuts it ends the work too. It asks again and again instead of waiting in
 * a statement: a waiting one holds a snapshot, for which CREATE INDEX CONCURRENTLY of the holder would wait.
 */
export async function withMigrationLock<Result>(
  db: Kysely<unknown>,
  run: (connection: Kysely<unknown>) => Promise<Result>,
): Promise<Result> {
  return db.connection().execute(async (connection) => {
    for (;;) {
      const { rows } = await sql<{
        held: boolean
      }>`select pg_try_advisory_lock(${key}::bigint) as held`.execute(connection)
      if (rows[0]?.held === true) break
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
