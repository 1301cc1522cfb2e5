import { createVerifier } from '@quintet/auth/app'
import type { AuthManager, SetupContext } from '@quintet/core'
import type { Queue } from '@quintet/queue'
import { openQueue } from '@quintet/queue/app'
import { createPublisher, type Publisher } from '@quintet/realtime'
import { createTrackedCache, type RedisClients } from '@quintet/redis'
import { openRedis } from '@quintet/redis/app'
import { allChannels } from './channels.ts'
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
  const redis = await openRedis(context)
  return {
    redis,
    // Connections and uploads end with the session of their user.
    verifier: createVerifier(context, redis, {
      commandTimeout: '1s',
      track: (options) =>
        createTrackedCache({ client: redis.client('sessions'), logger: context.logger, ...options }),
    }),
    publisher: createPublisher({ redis: redis.client('cache'), channels: allChannels }),
    jobs: openQueue(context, redis),
  }
}
