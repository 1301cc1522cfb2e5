import { defineProcess, defineSystem, env, type Secret, type System, type Transport } from '@quintet/core'
import { Redis } from 'ioredis'
import { GatewayConfig, type GatewayConfiguration } from './system-config.ts'
import { gatewayTransport, type GatewayTransportOptions } from './transport.ts'

/** How long the start waits for Redis. The gateway also starts without it, and looks for it until it is there. */
const redisPatience = 1_000

/**
 * The gateway as an app of an ecosystem, configured by its environment: `GATEWAY_ROUTES` (JSON, a list of
 * {@link GatewayRouteOptions}), `GATEWAY_PORT`, `GATEWAY_HOST`, `GATEWAY_TRUSTED_PROXIES`, `GATEWAY_REDIS__URL`
 * for the maintenance flags, `GATEWAY_MAINTENANCE__TOKEN` and `GATEWAY_MAINTENANCE__ALLOW` for operators.
 */
const system: System<GatewayConfiguration, GatewayTransportOptions> = defineSystem<
  GatewayConfiguration,
  GatewayTransportOptions
>({
  name: 'gateway',
  version: '0.0.0',
  config: { schema: GatewayConfig, sources: [env('GATEWAY_')] },
  async setup({ config, logger, lifecycle }) {
    const { routes, host, port, trustedProxies, maintenance } = config
    const options = { routes, host, port, trustedProxies }
    if (config.redis === undefined) return options
    const redis = await connect(config.redis.url, (error) =>
      logger.debug({ err: error }, 'Redis is not there.'),
    )
    lifecycle.onStop('redis', () => redis.disconnect())
    return {
      ...options,
      maintenance: {
        redis,
        ...(maintenance.retryAfter === undefined ? {} : { retryAfter: maintenance.retryAfter * 1_000 }),
        allow: {
          addresses: maintenance.allow,
          ...(maintenance.token === undefined ? {} : { token: maintenance.token.reveal() }),
        },
      },
    }
  },
  processes: [
    {
      name: 'main',
      module: async () => ({ default: defineProcess<GatewayTransportOptions>({}) }),
      critical: true,
      transports: { gateway: configuredTransport() },
    },
  ],
})

export default system

/** The transport whose options are what `setup` returned. */
function configuredTransport(): Transport {
  return {
    name: 'gateway',
    port: 8080,
    start: (host) => gatewayTransport(host.services as GatewayTransportOptions).start(host),
  }
}

async function connect(url: Secret, onError: (error: Error) => void): Promise<Redis> {
  const redis = new Redis(url.reveal(), {
    lazyConnect: true,
    // A question that cannot be asked now fails now: the flags are asked for again a second later.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: redisPatience,
    retryStrategy: (times) => Math.min(times * 100, 1_000),
  })
  redis.on('error', onError)
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, redisPatience)
  })
  await Promise.race([redis.connect().catch(onError), late])
  clearTimeout(timer)
  return redis
}
