import type { StopReason, Transport } from '../src/index.ts'
import type { TransportHost } from '../src/kit.ts'

/** A transport without a network, that writes down what happens to it. */
export interface RecordedTransport extends Transport {
  readonly events: string[]
  host: TransportHost | undefined
}

export interface RecordedTransportOptions {
  readonly events?: string[]
  readonly port?: number
  readonly address?: string
  readonly standby?: boolean
  readonly onGiveWay?: (signal: AbortSignal) => Promise<void> | void
  readonly onStart?: (host: TransportHost) => Promise<void> | void
  readonly onDrain?: (
    reason: StopReason,
    signal: AbortSignal,
  ) => Promise<void | 'handed-over'> | void | 'handed-over'
  readonly onClose?: () => Promise<void> | void
}

export function recordedTransport(name: string, options: RecordedTransportOptions = {}): RecordedTransport {
  const events = options.events ?? []
  const transport: RecordedTransport = {
    name,
    events,
    host: undefined,
    ...(options.port === undefined ? {} : { port: options.port }),
    ...(options.address === undefined ? {} : { address: options.address }),
    ...(options.standby === undefined ? {} : { standby: options.standby }),
    async start(host) {
      events.push(`${name} start${host.standby === undefined ? '' : ` at ${host.standby}`}`)
      transport.host = host
      await options.onStart?.(host)
      return {
        url: `test://${name}:${host.socket === undefined ? (host.port ?? 0) : `socket ${host.socket}`}`,
        async takeOver() {
          events.push(`${name} takes over`)
        },
        ...(options.onGiveWay && {
          async giveWay(reason: StopReason, signal: AbortSignal) {
            events.push(`${name} gives way ${reason}`)
            await options.onGiveWay?.(signal)
          },
        }),
        announceStop(reason) {
          events.push(`${name} announce ${reason}`)
        },
        async drain(reason, signal) {
          events.push(`${name} drain ${reason}`)
          return await options.onDrain?.(reason, signal)
        },
        async close() {
          events.push(`${name} close`)
          await options.onClose?.()
        },
      }
    },
  }
  return transport
}
