import { defineSystem, env, tenantLimit } from '@quintet/core'
import { behindGateway, forOperators } from '@quintet/example-platform/gateway'
import { probes } from '@quintet/health'
import { createRlsInvocationWrapper } from '@quintet/rls'
import { http } from '@quintet/server'
import { AuthConfig } from './config.ts'
import { ensureOperator } from './operator.ts'
import { createAuthServices } from './services.ts'
import { authSettings } from './settings.ts'

/** Identity: users, sessions and the only key that signs. */
export default defineSystem({
  name: 'auth',
  version: '1.0.0',
  config: { schema: AuthConfig, sources: [env('AUTH_')] },
  requires: {
    postgres: true,
    redis: true,
    migrations: './migrations',
    secrets: ['cnf', 'jobs', 'root', 'operator'],
  },
  setup: createAuthServices,
  settings: authSettings,
  auth: ({ manager }) => manager,
  wrappers: () => [tenantLimit(), createRlsInvocationWrapper()],
  processes: [
    {
      name: 'http',
      module: './http.ts',
      critical: true,
      transports: {
        http: http({
          port: 3001,
          requestTimeout: '30s',
          headersTimeout: '20s',
          ...behindGateway,
          plugins: [probes(forOperators)],
        }),
      },
    },
  ],
  hooks: {
    afterCreate: async ({ services }) => {
      await services.settings.loadAndApply()
      await ensureOperator(services, services.operatorPassword)
      // Revocations of the last moment, should Redis have forgotten them.
      await services.sessions.reconcile()
    },
  },
  shutdown: { priority: 10 },
})
