import { currentInvocation, type Principal, type Transport } from '@quintet/core'
import { option, readOptions, validate } from '@quintet/core/kit'
import { enqueueAll } from '../outbox/deliver-to.ts'
import { createOutbox } from '../outbox/outbox.ts'
import type { RelayPool } from '../outbox/relay-options.ts'
import { relay } from '../outbox/relay.ts'
import type { PgExecutor, SqlExecutor } from '../postgres/sql-executor.ts'
import type { Queue } from '../jobs/create-queue.ts'
import type { Erased, ErasureSubject } from '../jobs/erase-jobs.ts'
import type { EventDefinitions } from './define-event.ts'
import {
  assertTopic,
  type AnySubscription,
  type EventData,
  type TopicDefinitions,
  type TopicSchemas,
} from './define-topics.ts'

export interface EventBusOptions<Topics extends TopicSchemas> {
  /** With `defineEvents`, events can be erased by the users of whom they tell. */
  readonly topics: TopicDefinitions<Topics> & Partial<Pick<EventDefinitions, 'subjectsOf'>>
  /** Where the subscribers take their events from. */
  readonly queue: Pick<Queue, 'enqueue' | 'erase'>
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
  /**
   * Erases what outbox and queue have kept of a user or a tenant: events that they caused, and those that tell of them. What
   * is still on its way is left and counted: ask again until nothing is.
   */
  erase(subject: ErasureSubject): Promise<Erased>
}

const spec = {
  topics: option.collaborator<TopicDefinitions>(['subscription'], 'what defineTopics has made'),
  queue: option.collaborator<EventBusOptions<TopicSchemas>['queue']>(['enqueue'], 'a queue'),
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
        subjects: topics.subjectsOf?.({ topic, data }) ?? [],
        ...(principal === undefined ? {} : { principal }),
      })
    },
    async erase(subject) {
      const found = [await outbox.erase(pool, subject)]
      const tellsOf = (payload: unknown): readonly string[] => topics.subjectsOf?.(payload as never) ?? []
      for (const job of subscriptions) found.push(await queue.erase(job, subject, tellsOf))
      return {
        erased: found.reduce((sum, { erased }) => sum + erased, 0),
        pending: found.reduce((sum, { pending }) => sum + pending, 0),
      }
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
