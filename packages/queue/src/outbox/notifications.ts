import { checkOut } from './check-out.ts'
import { inTime } from '../in-time.ts'
import type { RelayPool } from './relay-options.ts'

/** A connection that listens on the channel of the outbox. */
export interface OutboxListener {
  readonly lost: boolean
  close(): void
}

/** Listens for notifications of the outbox; calls back for each, and once when the connection is lost. */
export async function listenToOutbox(
  pool: RelayPool,
  timeout: number,
  onEvent: () => void,
): Promise<OutboxListener> {
  const client = await checkOut(pool, timeout)
  let released = false
  const close = (): void => {
    if (released) return
    released = true
    client.release(true)
  }
  const onLost = (): void => {
    close()
    onEvent()
  }
  client.on('notification', onEvent)
  client.on('error', onLost)
  client.on('end', onLost)
  try {
    await inTime(client.query('listen outbox'), timeout, 'PostgreSQL did not answer')
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
