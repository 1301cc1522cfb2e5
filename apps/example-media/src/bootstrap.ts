import { defineSystem, env, tenantLimit } from '@quintet/core'
import { behindGateway, forOperators } from '@quintet/example-platform/gateway'
import { probes } from '@quintet/health'
import { createRlsInvocationWrapper } from '@quintet/rls'
import { http } from '@quintet/server'
import { MediaConfig } from './config.ts'
import { createMediaServices } from './services.ts'

/** Uploads and downloads last as long as their clients take, and must leave places for all else. */
const transfers = { 'POST /objects': { concurrency: 8 }, 'GET /objects/:id/content': { concurrency: 16 } }

/** Objects: uploads streamed to disk, images transformed by a sibling, thumbnails made from the queue. */
export default defineSystem({
  name: 'media',
  version: '1.0.0',
  config: {
    schema: MediaConfig,
    sources: [env('MEDIA_')],
  },
  requires: { postgres: true, redis: true, migrations: './migrations', secrets: ['cnf', 'jobs'] },
  setup: createMediaServices,
  auth: ({ verifier }) => verifier,
  wrappers: () => [tenantLimit({ apart: transfers }), createRlsInvocationWrapper()],
  processes: [
    {
      name: 'http',
      module: './http.ts',
      transports: {
        http: http({
          port: 3002,
          requestTimeout: '5m',
          maxRequestSize: '10gb',
          ...behindGateway,
          plugins: [probes(forOperators)],
        }),
      },
      topology: { access: ['image-transform'] },
    },
    {
      name: 'image-transform',
      module: './workers/image-transform.ts',
      topology: { expose: true },
      health: { interval: '30s' },
    },
    { name: 'thumbnails', module: './workers/thumbnails.ts', health: { interval: '60s' } },
  ],
})
