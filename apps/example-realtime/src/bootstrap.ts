import { defineSystem, env, tenantLimit } from '@quintet/core'
import { behindGateway, forOperators, fromOwnPages } from '@quintet/example-platform/gateway'
import { probes } from '@quintet/health'
import { channels } from '@quintet/realtime'
import { http, websocket } from '@quintet/server'
import { allChannels } from './channels.ts'
import { RealtimeConfig } from './config.ts'
import { createRealtimeServices, type RealtimeServices } from './services.ts'

/** Notifications over WebSocket, fed by the outboxes of the other apps. */
export default defineSystem({
  name: 'realtime',
  version: '1.0.0',
  config: {
    schema: RealtimeConfig,
    sources: [env('REALTIME_')],
  },
  requires: { redis: true, secrets: ['cnf', 'jobs'] },
  setup: createRealtimeServices,
  auth: ({ verifier }) => verifier,
  wrappers: () => [tenantLimit()],
  processes: [
    {
      name: 'live',
      module: './live.ts',
      transports: {
        http: http({ port: 3005, ...behindGateway, plugins: [probes(forOperators)] }),
        websocket: websocket({
          port: 3006,
          path: '/',
          ...fromOwnPages,
          protocols: [
            channels({
              redis: ({ redis }: RealtimeServices) => redis.client('cache'),
              channels: allChannels,
            }),
          ],
        }),
      },
    },
  ],
  // It stops before the others, so that its clients are told first.
  shutdown: { priority: -10, timeout: '5s' },
})
