import type { AuthManager, SetupContext } from '@quintet/core'
import { createVerifier } from '@quintet/example-platform/verifier'
import { createJobQueue } from '@quintet/example-platform/event-bus'
import type { Queue } from '@quintet/queue'
import { createPublisher, type Publisher } from '@quintet/realtime'
import { createRedisClients, type RedisClients } from '@quintet/redis'
import { tenantEvents } from './channels.ts'
import type { RealtimeConfig } from './config.ts'

export interface RealtimeServices {
  readonly redis: RedisClients
  readonly verifier: AuthManager
  readonly publisher: Publisher
  readonly jobs: Queue
}

export async function createRealtimeServices(
  context: SetupContext<RealtimeConfig>,
): Promise<RealtimeServices> {
  const { config, logger, lifecycle } = context
  const { redis: redisConfig, identity, secrets } = config
  const redis = lifecycle.use(await createRedisClients({ url: redisConfig.url, logger, bootCheck: 'refuse' }))
  return {
    redis,
    verifier: createVerifier({ logger, redis, identity, cnf: secrets.cnf }),
    publisher: createPublisher({ redis: redis.client('cache'), channels: [tenantEvents] }),
    jobs: lifecycle.use(createJobQueue(redis, secrets.jobs)),
  }
}
