import type { Transport } from '@quintet/core'
import { createGateway, type Gateway } from './gateway.ts'
import type { GatewayOptions } from './options.ts'

export interface GatewayTransportOptions extends Omit<GatewayOptions, 'logger' | 'signal'> {
  /** Unique in its process. @defaultValue `'gateway'` */
  readonly name?: string
}

/** Runs a gateway as a transport of a process, so that the process starts, drains and stops it. */
export function gatewayTransport(options: GatewayTransportOptions): Transport {
  const { name = 'gateway', ...rest } = options
  return {
    name,
    async start(host) {
      const gateway: Gateway = await createGateway({
        ...rest,
        ...(host.port === undefined ? {} : { port: host.port }),
        logger: host.logger,
      })
      return { url: gateway.url, drain: gateway.drain, close: gateway.close }
    },
  }
}
