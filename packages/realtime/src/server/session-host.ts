import type { Channel } from '../channel/channel.ts'
import type { RealtimeRedis } from '../topic/redis-port.ts'
import type { Topic } from '../topic/topic.ts'
import type { Subscription } from './subscription.ts'

/** Everything that the sessions of one instance share. */
export interface SessionHost {
  readonly redis: RealtimeRedis
  /** The topic of a tenant's channel, opened where nobody is subscribed yet. */
  topic(channel: Channel, tenantId: string | null, name: string): Topic
  /** Says that the subscription's user is here. Answers with all who are. */
  arrive(subscription: Subscription, connectionId: string): Promise<string[]>
  leave(subscription: Subscription, connectionId: string): void
}
