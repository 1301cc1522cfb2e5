import { once } from 'node:events'
import type { Server } from 'node:http'
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import type { StopReason } from '@quintet/core'
import { stopListening } from '@quintet/core/http'
import type { Connections } from '../listener/connections.ts'
import type { Waiter } from '../traffic/idle-waiter.ts'
import type { Tunnels } from '../websocket/tunnels.ts'

export interface DrainOptions {
  readonly server: Server
  readonly connections: Connections
  readonly tunnels: Tunnels
  /** Waits until nothing is in progress. */
  readonly waiter: Waiter
}

/**
 * How long idle connections are kept when the gateway stops: a request that is already on its way is answered, and
 * told that its connection ends.
 */
const idleGrace = 500

/** Accepts nothing new, tells WebSocket clients, and waits for all that is in progress, or until the signal aborts. */
export async function drain(
  { server, connections, tunnels, waiter }: DrainOptions,
  reason: StopReason,
  signal: AbortSignal,
): Promise<void> {
  await stopListening(server)
  await tunnels.goAway(reason)
  if (connections.size > 0) await Promise.race([delay(idleGrace), once(server, 'close')])
  // One whose answer has only just ended may be asked again: its client does not know of the end yet.
  const ending = setInterval(
    () => void nextTurn().then(() => connections.closeIdle(performance.now() - idleGrace)),
    idleGrace / 10,
  )
  await waiter.wait(signal)
  clearInterval(ending)
}
