import type { Transport } from '@quintet/core'
import type { TransportHost } from '@quintet/core/kit'
import { createGateway, type Gateway } from './create-gateway.ts'
import { gatewayDefaults, type GatewayOptions } from './options/gateway-options.ts'

export interface GatewayTransportOptions extends Omit<GatewayOptions, 'logger' | 'signal'> {
  /** Unique in its process. @defaultValue `'gateway'` */
  readonly name?: string
}

/**
 * Runs a gateway as a transport of a process, so that the process starts, drains and stops it.
 *
 * @example
 * transports: { http: gatewayTransport({ port: 8080, routes: [{ name: 'media', path: '/api/media/', upstreams: ['http://127.0.0.1:3002'] }] }) }
 */
export function gatewayTransport(options: GatewayTransportOptions): Transport {
  const { name = 'gateway', port, fd, ...rest } = options
  return {
    name,
    ...(fd === undefined
      ? { port: port ?? gatewayDefaults.port, address: options.host ?? gatewayDefaults.host }
      : {}),
    async start(host) {
      const gateway: Gateway = await createGateway({
        ...rest,
        ...addressOf(host, { port, fd }),
        logger: host.logger,
      })
      if (options.maintenance) {
        host.health.add({
          name: 'maintenance flags',
          // Without them the gateway goes on serving.
          critical: false,
          check: async () => {
            const { age = null, stale = true } = gateway.status().maintenance ?? {}
            if (!stale) return
            throw new Error(
              age === null
                ? 'The maintenance flags could not be read yet.'
                : `The maintenance flags could not be read for ${Math.round(age / 1_000)} s.`,
            )
          },
        })
      }
      return {
        url: gateway.url,
        announceStop: gateway.announceStop,
        drain: gateway.drain,
        close: gateway.close,
      }
    },
  }
}

/** What is given from outside wins, a socket before a port. */
function addressOf(
  host: Pick<TransportHost, 'port' | 'socket'>,
  own: { readonly port: number | undefined; readonly fd: number | undefined },
): Pick<GatewayOptions, 'port' | 'fd'> {
  const fd = host.socket ?? (host.port === undefined ? own.fd : undefined)
  if (fd !== undefined) return { fd }
  const port = host.port ?? own.port
  return port === undefined ? {} : { port }
}
