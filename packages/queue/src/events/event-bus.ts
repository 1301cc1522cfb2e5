import { currentInvocation, type Principal, type Transport } from '@quintet/core'
import { option, readOptions, validate } from '@quintet/core/kit'
import { enqueueAll } from '../outbox/deliver-to.ts'
import { createOutbox } from '../outbox/outbox.ts'
import type { RelayPool } from '../outbox/relay-options.ts'
import { relay } from '../outbox/relay.ts'
import type { PgExecutor, SqlExecutor } from '../postgres/sql-executor.ts'
import type { Queue } from '../jobs/create-queue.ts'
import {
  assertTopic,
  type AnySubscription,
  type EventData,
  type TopicDefinitions,
  type TopicSchemas,
} from './define-topics.ts'

export interface EventBusOptions<Topics extends TopicSchemas> {
  readonly topics: TopicDefinitions<Topics>
  /** Where the subscribers take their events from. */
  readonly queue: Pick<Queue, 'enqueue'>
  /** Connections of the system login, directly to PostgreSQL. */
  readonly pool: RelayPool & PgExecutor
  /** Who hears of the events. */
  readonly to: readonly AnySubscription[]
}

export interface PublishOptions {
  /** Events with the same key come one after another. @defaultValue the tenant of the principal */
  readonly key?: string
  /** Who caused it. @defaultValue the principal of the running call */
  readonly principal?: Principal
}

/** What an app tells others, through its outbox. */
export interface EventBus<Topics extends TopicSchemas> {
  /**
   * Publishes an event in the transaction of what it tells of: it exists exactly when that commits.
   *
   * @throws QuintetError `ERR_CORE_INVALID_INPUT` when the data does not meet the schema of the topic.
   */
  publish<Topic extends keyof Topics & string>(
    transaction: SqlExecutor,
    topic: Topic,
    data: EventData<Topics, Topic>,
    options?: PublishOptions,
  ): Promise<void>
  /** Hands committed events to their subscribers; put it under `workers` of one process. */
  readonly relay: Transport
}

const spec = {
  topics: option.collaborator<TopicDefinitions>(['subscription'], 'what defineTopics has made'),
  queue: option.collaborator<Pick<Queue, 'enqueue'>>(['enqueue'], 'a queue'),
  pool: option.collaborator<RelayPool & PgExecutor>(['connect', 'query'], 'a pool of pg'),
  to: option.list(option.collaborator<AnySubscription>([], 'a subscription')),
}

const publishSpec = {
  key: option.text().optional(),
  principal: option.collaborator<Principal>([], 'a principal').optional(),
}

/**
 * Makes the event bus of an app over its outbox (`outboxMigration`).
 *
 * @throws TypeError for options that are unknown or make no sense.
 *
 * @example
 * const events = createEventBus({ topics, queue, pool: systemPool, to: [counting] })
 * await events.publish(trx, 'ledger.transferred', { amount: '1.00' })
 */
export function createEventBus<const Topics extends TopicSchemas>(
  options: EventBusOptions<Topics>,
): EventBus<Topics> {
  const { to: subscriptions } = readOptions<EventBusOptions<Topics>, typeof spec>(
    options,
    spec,
    'createEventBus',
  )
  const { topics, queue, pool } = options
  for (const { name, topics: wanted } of subscriptions) {
    for (const topic of wanted) assertTopic(topics.schemas, topic, `createEventBus.to: ${name}`)
  }
  const outbox = createOutbox({ notify: pool })
  return {
    async publish(transaction, topic, data, given = {}) {
      const settings = readOptions<PublishOptions, typeof publishSpec>(given, publishSpec, `publish ${topic}`)
      assertTopic(topics.schemas, topic, 'publish')
      const principal = settings.principal ?? currentInvocation()?.principal
      // What is stored is what was given: the schema makes of it what it makes where it is taken.
      await validate(topics.schemas[topic] as Topics[typeof topic], data)
      await outbox.add(transaction, {
        topic,
        key: settings.key ?? principal?.tenantId ?? 'system',
        payload: data,
        ...(principal === undefined ? {} : { principal }),
      })
    },
    relay: relay({
      pool,
      deliver: (delivered) => {
        const { id, topic, payload, createdAt } = delivered
        const wanting = subscriptions.filter(({ topics: wanted }) => wanted.includes(topic))
        return enqueueAll(queue, wanting, { id, topic, occurredAt: createdAt, data: payload }, delivered)
      },
    }),
  }
}
