import { defineSystem, env, tenantLimit } from '@quintet/core'
import { behindGateway, forOperators } from '@quintet/example-platform/gateway'
import { probes } from '@quintet/health'
import { createRlsInvocationWrapper } from '@quintet/rls'
import { http } from '@quintet/server'
import { LedgerConfig } from './config.ts'
import { createLedgerServices } from './services.ts'

/** Money: double entry, once per idempotency key, settled by one worker of the fleet. */
export default defineSystem({
  name: 'ledger',
  version: '1.0.0',
  config: {
    schema: LedgerConfig,
    sources: [env('LEDGER_')],
  },
  requires: { postgres: true, redis: true, migrations: './migrations', secrets: ['cnf', 'jobs'] },
  setup: createLedgerServices,
  auth: ({ verifier }) => verifier,
  wrappers: () => [tenantLimit(), createRlsInvocationWrapper()],
  processes: [
    {
      name: 'http',
      module: './http.ts',
      transports: { http: http({ port: 3003, ...behindGateway, plugins: [probes(forOperators)] }) },
    },
    { name: 'settlement', module: './workers/settlement.ts', health: { interval: '30s' } },
  ],
})
