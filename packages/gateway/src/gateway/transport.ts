import type { Transport } from '@quintet/core'
import { resolveGatewayOptions, type GatewayOptions } from '../options/gateway-options.ts'
import { openGateway } from './create-gateway.ts'

export interface GatewayTransportOptions extends Omit<GatewayOptions, 'logger' | 'signal'> {
  /** Unique in its process. @defaultValue `'gateway'` */
  readonly name?: string
}

/**
 * Runs a gateway as a transport of a process, so that the process starts, drains and stops it.
 *
 * @throws TypeError naming every option that is unknown, missing or out of range.
 *
 * @example
 * transports: { http: gatewayTransport({ port: 8080, routes: [{ name: 'media', path: '/api/media/', upstreams: ['http://127.0.0.1:3002'] }] }) }
 */
export function gatewayTransport(options: GatewayTransportOptions): Transport {
  const { name = 'gateway', ...rest } = options
  const settings = resolveGatewayOptions(rest)
  return {
    name,
    ...(settings.fd === undefined ? { port: settings.port, address: settings.host } : {}),
    async start(host) {
      const gateway = await openGateway({
        ...settings,
        // What is given from outside wins, a socket before a port.
        fd: host.socket ?? (host.port === undefined ? settings.fd : undefined),
        port: host.port ?? settings.port,
        logger: host.logger,
      })
      if (settings.maintenance) {
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
