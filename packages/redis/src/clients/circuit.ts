import type { GuardedClient } from './guarded-redis.ts'
import { describeFailure } from '../errors.ts'

/**
 * Whether commands pass: `idle` (not yet connected, the first command connects), `closed` (they pass),
 * `open` (they fail at once) or `half-open` (an attempt to reconnect is under way; they fail at once).
 */
export type CircuitState = 'idle' | 'closed' | 'open' | 'half-open'

/** The state of one client's connection, as an operator wants to know it. */
export interface Circuit {
  readonly state: CircuitState
  /** When the state last changed to or from `closed`, in milliseconds since the epoch. */
  readonly since: number
  /** Why the connection was last lost or could not be made. */
  readonly reason: string | undefined
}

/**
 * Reads the circuit off the connection itself: a connection that is not ready fails commands at once,
 * and one that stays silent is given up, so there is no second set of thresholds.
 */
export function watchCircuit(client: GuardedClient, onChange: (circuit: Circuit) => void): () => Circuit {
  let since = Date.now()
  let passing = false
  let reason: string | undefined
  const read = (): Circuit => ({ state: stateOf(client.status), since, reason })
  client.on('ready', () => {
    passing = true
    since = Date.now()
    reason = undefined
    onChange(read())
  })
  // A cluster says of each node what went wrong, and then only that all failed.
  for (const event of ['error', 'node error']) {
    client.on(event, (error: Error) => {
      if (error.name !== 'ClusterAllFailedError') reason = describeFailure(error)
    })
  }
  client.on('close', () => {
    const lost = passing
    passing = false
    if (lost) since = Date.now()
    reason ??= 'the connection was closed'
    if (lost) onChange(read())
  })
  return read
}

function stateOf(status: GuardedClient['status']): CircuitState {
  switch (status) {
    case 'wait':
      return 'idle'
    case 'ready':
      return 'closed'
    case 'connecting':
    case 'connect':
      return 'half-open'
    default:
      return 'open'
  }
}
