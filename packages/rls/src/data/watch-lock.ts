import { setTimeout as delay } from 'node:timers/promises'
import type { PoolClient } from 'pg'
import { answerWithin } from '../sql/answer-within.ts'

/** The heartbeat of an advisory lock. */
export interface LockWatch {
  /** Resolves once nothing is asked any more. */
  stop(): Promise<void>
}

const stillHeld = `select exists (
  select from pg_catalog.pg_locks
  where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid() and objsubid = 1 and granted
    and (classid::bigint << 32 | objid::bigint) = $1::bigint
) as held`

/**
 * Asks the connection of a lock at intervals whether it holds the lock: one that is idle is what load balancers cut, and
 * one that was cut without a word says nothing by itself. An answer that takes longer than the interval is none.
 */
export function watchLock(
  client: PoolClient,
  key: string,
  interval: number,
  onLost: (cause: unknown) => void,
): LockWatch {
  const stopped = new AbortController()
  const { signal } = stopped
  const elapses = (): Promise<boolean> => delay(interval, true, { signal }).catch(() => false)

  const watch = async (): Promise<void> => {
    while (await elapses()) {
      const { rows } = await answerWithin(client, interval, () =>
        client.query<{ held: boolean }>(stillHeld, [key]),
      )
      if (rows[0]?.held !== true) throw new Error('The session does not hold the lock any more.')
    }
  }
  const ended = watch().catch(onLost)
  return {
    stop() {
      stopped.abort()
      return ended
    },
  }
}
