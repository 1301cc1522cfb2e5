import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import type { ExchangeRecord } from '../exchange/exchange-host.ts'
import { openTunnel, type CloseReason, type Tunnel } from './tunnel.ts'

/** So many WebSockets are told together that they end, with a pause between, so that not all return at once. */
const noticeBatch = 200
const noticePause = 25

/** The open WebSockets of a gateway. */
export interface Tunnels {
  readonly size: number
  /** Joins two upgraded sockets until both are closed. With a reason it is ended at once. */
  open(
    sockets: { readonly client: Duplex; readonly upstream: Duplex; readonly protocol: string | undefined },
    exchange: ExchangeRecord,
    leave: CloseReason | undefined,
    onClosed: () => void,
  ): void
  /** Tells those whose handshake is meant, or all, that they end. */
  goAway(reason: CloseReason, isMeant?: (handshake: ExchangeRecord) => boolean): Promise<void>
  destroyAll(): void
}

export function createTunnels(): Tunnels {
  const tunnels = new Map<Tunnel, ExchangeRecord>()
  return {
    get size() {
      return tunnels.size
    },
    open({ client, upstream, protocol }, exchange, leave, onClosed) {
      const tunnel = openTunnel(client, upstream, protocol, () => {
        tunnels.delete(tunnel)
        onClosed()
      })
      tunnels.set(tunnel, exchange)
      if (leave) tunnel.goAway(leave, reconnectAfter())
    },
    async goAway(reason, isMeant = () => true) {
      const meant = Array.from(tunnels).filter(([, handshake]) => isMeant(handshake))
      for (const [index, [tunnel]] of meant.entries()) {
        tunnel.goAway(reason, reconnectAfter())
        if ((index + 1) % noticeBatch === 0) await delay(noticePause)
      }
    },
    destroyAll() {
      for (const tunnel of tunnels.keys()) tunnel.destroy()
    },
  }
}

/** Between one and five seconds, so that the clients of one gateway do not return together. */
function reconnectAfter(): number {
  return 1_000 + Math.floor(Math.random() * 4_000)
}
