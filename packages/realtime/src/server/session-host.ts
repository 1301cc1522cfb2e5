import type { Channel } from '../channel/channel.ts'
import type { RealtimeRedis } from '../topic/redis-port.ts'
import type { Topic } from '../topic/topic.ts'
import type { Subscription } from './subscription.ts'

/** Everything that the sessions of one instance share. */
export interface SessionHost {
  readonly redis: RealtimeRedis
  /** The topic of a tenant's channel, opened with its first subscriber. */
  topic(channel: Channel, tenantId: string | null, name: string): Topic
  /** Makes the subscription's user present. Answers with all who are. */
  arrive(subscription: Subscription): Promise<string[]>
  leave(subscription: Subscription): void
}
