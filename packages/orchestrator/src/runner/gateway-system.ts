import { defineProcess, defineSystem, type System } from '@quintet/core'
import { gatewayTransport, type GatewayOptions } from '@quintet/gateway'
import { createRedisClients } from '@quintet/redis'
import type { GatewaySettings } from './gateway-settings.ts'

/** The gateway as a system, so that it is run, probed and stopped like any app. */
export async function gatewaySystem(env: NodeJS.ProcessEnv): Promise<System> {
  const settings = JSON.parse(env['QUINTET_GATEWAY'] ?? '') as GatewaySettings
  const clients =
    settings.redisUrl === null ? undefined : await createRedisClients({ url: settings.redisUrl })
  const config = settings.config as Omit<Partial<GatewayOptions>, 'routes'>
  const maintenance = clients && {
    redis: clients.client('sessions'),
    allow: { token: settings.maintenanceToken },
    ...(config.maintenance as object | undefined),
  }
  const http = gatewayTransport({
    ...config,
    routes: settings.routes,
    ...(maintenance ? { maintenance } : {}),
  })
  return defineSystem({
    name: 'gateway',
    version: '1.0.0',
    setup: ({ lifecycle }) => {
      if (clients) lifecycle.use(clients)
      return {}
    },
    processes: [
      {
        name: 'http',
        module: async () => ({ default: defineProcess({}) }),
        transports: { http: { ...http, name: 'http' } },
      },
    ],
    shutdown: { timeout: '15s' },
  }) as System
}
