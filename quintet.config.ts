import { defineEcosystem } from '@quintet/core/ecosystem'

/** Where the public keys of the auth app are; its private key leaves it for nobody. */
const jwksUrl = '${url:auth/http}/.well-known/jwks.json'

/**
 * Many small processes share one machine: a small young generation costs each a little speed and saves it some 20 MB. With
 * a small heap V8 collects garbage when a third has been added to what lives, and not when there is four times as much.
 */
const small = { NODE_OPTIONS: '--max-semi-space-size=4 --max-old-space-size=256' }

const project = 'quintet-example'

/** Whose tokens an app trusts, and whom they are for: names of this system alone. */
const identity = (prefix: string): Record<string, string> => ({
  [`${prefix}_IDENTITY__ISSUER`]: '${url:gateway/http}/api/auth',
  [`${prefix}_IDENTITY__AUDIENCE`]: project,
  ...(prefix === 'AUTH' ? {} : { [`${prefix}_IDENTITY__JWKS_URL`]: jwksUrl }),
})

/** The five-app fan-out: one app owns identity, four trust its tokens, all behind one gateway; and a page to try them. */
export default defineEcosystem({
  project,
  infrastructure: {
    services: {
      gateway: {
        preset: 'quintet',
        ports: { http: 8080 },
        env: small,
        config: { wellKnown: { auth: ['oauth-authorization-server'] } },
      },
    },
    // PostgreSQL and Redis are started because the apps require them.
  },
  apps: [
    {
      name: 'auth',
      bootstrap: './apps/example-auth/src/bootstrap.ts',
      critical: true,
      watch: { directory: './apps/example-auth' },
      env: { ...small, ...identity('AUTH') },
    },
    {
      name: 'media',
      bootstrap: './apps/example-media/src/bootstrap.ts',
      dependsOn: ['auth'],
      startupTimeout: '90s',
      watch: { directory: './apps/example-media' },
      env: { ...small, ...identity('MEDIA') },
    },
    {
      name: 'analytics',
      bootstrap: './apps/example-analytics/src/bootstrap.ts',
      dependsOn: ['auth'],
      watch: { directory: './apps/example-analytics' },
      env: { ...small, ...identity('ANALYTICS') },
    },
    {
      name: 'ledger',
      bootstrap: './apps/example-ledger/src/bootstrap.ts',
      dependsOn: ['auth'],
      startupTimeout: '120s',
      watch: { directory: './apps/example-ledger' },
      env: { ...small, ...identity('LEDGER') },
    },
    {
      name: 'realtime',
      bootstrap: './apps/example-realtime/src/bootstrap.ts',
      dependsOn: ['auth'],
      watch: { directory: './apps/example-realtime' },
      env: { ...small, ...identity('REALTIME') },
    },
    {
      name: 'web',
      bootstrap: './apps/example-web/src/bootstrap.ts',
      watch: { directory: './apps/example-web' },
      env: small,
    },
  ],
  supervision: {
    strategy: 'one_for_one',
    maxRestarts: 5,
    window: '60s',
    backoff: { type: 'exponential', initial: '1s', max: '30s', factor: 2 },
  },
  monitoring: {
    healthCheck: { interval: '15s', timeout: '5s' },
    metrics: { interval: '5s', retention: '1h' },
  },
  logging: { level: 'info', maxSize: '50mb', maxFiles: 10, compress: true },
})
