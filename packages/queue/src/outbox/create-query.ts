import { inTime } from '../in-time.ts'
import { checkOut } from './check-out.ts'
import type { RelayPool } from './relay-options.ts'

export type Query = (text: string, values: unknown[]) => Promise<{ readonly rows: unknown[] }>

/**
 * Runs statements on clients of a pool, each within a time limit: a connection that has gone silent is thrown away, and
 * the next statement takes another.
 */
export function createQuery(pool: RelayPool, timeout: number): Query {
  return async (text, values) => {
    const client = await checkOut(pool, timeout)
    let broken: Error | undefined
    try {
      return await inTime(client.query(text, values), timeout, 'PostgreSQL did not answer')
    } catch (error) {
      broken = error as Error
      throw error
    } finally {
      client.release(broken)
    }
  }
}
