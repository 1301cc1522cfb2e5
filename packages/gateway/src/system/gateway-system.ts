import { defineProcess, defineSystem, env, type Secret, type System, type Transport } from '@quintet/core'
import { loadConfig } from '@quintet/core/kit'
import { Redis } from 'ioredis'
import type { MaintenanceOptions, MaintenanceRedis } from '../maintenance/maintenance-options.ts'
import { gatewayDefaults, resolveGatewayOptions } from '../options/gateway-options.ts'
import { GatewayConfig, type GatewayConfiguration } from './system-config.ts'
import { gatewayTransport, type GatewayTransportOptions } from '../gateway/transport.ts'

/** How long a question may stay unanswered before its connection is given up; a question is asked every second. */
const redisSilenceMs = 2_000

/** How long the start waits for Redis. The gateway also starts without it, and looks for it until it is there. */
const redisConnectTimeoutMs = 1_000

/**
 * The gateway as an app of an ecosystem, configured by its environment: `GATEWAY_ROUTES` (JSON, a list of
 * {@link GatewayRouteOptions}), `GATEWAY_PORT`, `GATEWAY_HOST`, `GATEWAY_TRUSTED_PROXIES`, `GATEWAY_MAX_CONNECTIONS`, `GATEWAY_MAX_HEADER_SIZE`, `GATEWAY_MAX_RESPONSE_HEADER_SIZE`,
 * `GATEWAY_TIMEOUTS`, `GATEWAY_RETRIES`, `GATEWAY_PROBES`, `GATEWAY_EJECTION`, `GATEWAY_CORS` and `GATEWAY_SECURITY_HEADERS` (JSON), `GATEWAY_REDIS__URL`
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
    const { maintenance, redis: redisConfig, ...rest } = config
    const options = withoutUndefined(rest)
    if (redisConfig === undefined) {
      if (
        maintenance.token !== undefined ||
        maintenance.retryAfter !== undefined ||
        maintenance.allow.length > 0
      )
        logger.warn({}, 'the settings of maintenance have no effect without GATEWAY_REDIS__URL')
      return options
    }
    const redis = await connect(redisConfig.url, (error) =>
      logger.debug({ err: error }, 'redis is not there'),
    )
    lifecycle.onStop('redis', () => redis.disconnect())
    return { ...options, maintenance: maintenanceOptions(maintenance, redis) }
  },
  processes: [
    {
      name: 'http',
      module: async () => ({ default: defineProcess<GatewayTransportOptions>({}) }),
      critical: true,
      transports: { http: configuredTransport() },
    },
  ],
})

export default system

/**
 * Checks an environment of this app without starting it.
 *
 * @throws QuintetError `ERR_CORE_CONFIG_INVALID` or TypeError naming what the gateway would refuse.
 */
export async function assertGatewayEnvironment(environment: Readonly<Record<string, string>>): Promise<void> {
  const { value } = await loadConfig({ schema: GatewayConfig, sources: [env('GATEWAY_')], env: environment })
  const { maintenance, redis: _redis, ...rest } = value
  resolveGatewayOptions({
    ...withoutUndefined(rest),
    maintenance: maintenanceOptions(maintenance, { get: async () => null }),
  })
}

function maintenanceOptions(
  { retryAfter, allow, token }: GatewayConfiguration['maintenance'],
  redis: MaintenanceRedis,
): MaintenanceOptions {
  return {
    redis,
    ...(retryAfter === undefined ? {} : { retryAfter: retryAfter * 1_000 }),
    allow: { addresses: allow, ...(token === undefined ? {} : { token: token.reveal() }) },
  }
}

/** An option that is not set is left out, so that the gateway's default applies. */
function withoutUndefined(
  options: Omit<GatewayConfiguration, 'maintenance' | 'redis'>,
): GatewayTransportOptions {
  const set = Object.entries(options).filter(([, value]) => value !== undefined)
  return Object.fromEntries(set) as unknown as GatewayTransportOptions
}

/** The transport whose options are what `setup` returned. */
function configuredTransport(): Transport {
  return {
    name: 'http',
    port: gatewayDefaults.port,
    address: gatewayDefaults.host,
    start: (host) => gatewayTransport(host.services as GatewayTransportOptions).start(host),
  }
}

async function connect(url: Secret, onError: (error: Error) => void): Promise<Redis> {
  const redis = new Redis(url.reveal(), {
    lazyConnect: true,
    // A question that cannot be asked now fails now: the flags are asked for again a second later.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    connectTimeout: redisConnectTimeoutMs,
    // A connection that lets nothing through any more is given up, instead of when the kernel does after many minutes.
    socketTimeout: redisSilenceMs,
    retryStrategy: (times) => Math.min(times * 100, 1_000),
  })
  redis.on('error', onError)
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, redisConnectTimeoutMs)
  })
  await Promise.race([redis.connect().catch(onError), late])
  clearTimeout(timer)
  return redis
}
