import { defineSystem, env, tenantLimit } from '@quintet/core'
import { behindGateway, forOperators } from '@quintet/example-platform/gateway'
import { probes } from '@quintet/health'
import { createRlsInvocationWrapper } from '@quintet/rls'
import { http } from '@quintet/server'
import { AnalyticsConfig } from './config.ts'
import { createAnalyticsServices } from './services.ts'

/** What happened, counted: each event once, for its tenant. */
export default defineSystem({
  name: 'analytics',
  version: '1.0.0',
  config: {
    schema: AnalyticsConfig,
    sources: [env('ANALYTICS_')],
  },
  requires: { postgres: true, redis: true, migrations: './migrations', secrets: ['cnf', 'jobs'] },
  setup: createAnalyticsServices,
  auth: ({ verifier }) => verifier,
  wrappers: () => [tenantLimit(), createRlsInvocationWrapper()],
  processes: [
    {
      name: 'http',
      module: './http.ts',
      transports: { http: http({ port: 3004, ...behindGateway, plugins: [probes(forOperators)] }) },
    },
  ],
})
