import { Pool } from 'pg'
import { createTestDatabase, type TestDatabase } from '@quintet/test-kit'
import {
  createPostgresSessionStore,
  sessionTablesSql,
  type PostgresSessionStore,
} from '../../src/postgres.ts'
import type { Clock } from '@quintet/core/kit'

/** Machines that run tests are busy. */
const queryTimeout = '5s'

/** A database with the tables of sessions. */
export interface SessionDatabase extends AsyncDisposable {
  readonly url: string
  readonly pool: Pool
  store(clock?: Clock): PostgresSessionStore
}

export async function createSessionDatabase(): Promise<SessionDatabase> {
  const database: TestDatabase = await createTestDatabase()
  const pool = new Pool({ connectionString: database.url, max: 20 })
  pool.on('error', () => undefined)
  await pool.query(sessionTablesSql())
  return {
    url: database.url,
    pool,
    store: (clock) =>
      createPostgresSessionStore({ pool, queryTimeout, ...(clock === undefined ? {} : { clock }) }),
    async [Symbol.asyncDispose]() {
      await pool.end()
      await database.drop()
    },
  }
}
