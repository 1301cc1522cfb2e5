import { randomUUID } from 'node:crypto'
import type { Secret, Transport, UserPrincipal } from '@quintet/core'
import {
  createOutbox,
  createQueue,
  relay,
  type EnqueueOptions,
  type Queue,
  type SqlExecutor,
} from '@quintet/queue'
import type { RedisClients } from '@quintet/redis'
import type { Pool } from 'pg'
import { announceEvent, recordEvent, type PlatformEvent, type Topic } from './events.ts'

/** What an app tells the others, through its outbox. */
export interface EventBus {
  /** Adds an event in the transaction of what it tells of. */
  publish(
    transaction: SqlExecutor,
    topic: Topic,
    principal: UserPrincipal,
    data: Record<string, unknown>,
  ): Promise<void>
  /** Hands committed events to the queues of analytics and realtime. */
  readonly relay: Transport
}

/** Where an app takes its jobs from. Its connection waits for Redis as long as it takes: workers need that. */
export function createJobQueue(redis: RedisClients, secret: Secret): Queue {
  return createQueue({ connection: redis.duplicate('queue', { blocking: true }), secret })
}

export function createEventBus(options: {
  readonly redis: RedisClients
  readonly systemPool: Pool
  readonly secret: Secret
  /** What else follows from an event, e.g. a job of the app's own. May be called again for the same event. */
  readonly follow?: (event: PlatformEvent, queue: Queue, settings: EnqueueOptions) => Promise<void>
}): EventBus {
  const { redis, systemPool, secret, follow } = options
  const outbox = createOutbox({ notify: systemPool })
  const queue = createQueue({ connection: redis.client('queue'), secret })
  return {
    async publish(transaction, topic, principal, data) {
      const event: PlatformEvent = { id: randomUUID(), topic, occurredAt: new Date().toISOString(), data }
      await outbox.add(transaction, { topic, key: principal.tenantId, payload: event, principal })
    },
    relay: relay({
      pool: systemPool,
      deliver: async ({ id, payload, principal, traceparent }) => {
        const event = payload as PlatformEvent
        const settings = {
          principal,
          idempotencyKey: id,
          ...(traceparent === undefined ? {} : { traceparent }),
        }
        await follow?.(event, queue, settings)
        await queue.enqueue(recordEvent, event, settings)
        await queue.enqueue(announceEvent, event, settings)
      },
    }),
  }
}
