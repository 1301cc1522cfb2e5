import type { AccessRule, Schema, SchemaInput, SchemaOutput } from '@quintet/core'
import { assertName, nearestKey, validate } from '@quintet/core/kit'
import { defineJob, type JobDefinition, type JobOptions } from '../jobs/define-job.ts'

/** The schema of the data of each topic. */
export type TopicSchemas = Readonly<Record<string, Schema>>

/** An event as its consumers get it: a union over the topics, told apart by `topic`. */
export type EventOf<Topics extends TopicSchemas> = {
  [Topic in keyof Topics & string]: {
    /** The same each time that the event comes: the `eventId` of `withInbox`. */
    readonly id: string
    readonly topic: Topic
    /** ISO 8601. */
    readonly occurredAt: string
    readonly data: SchemaOutput<Topics[Topic]>
  }
}[keyof Topics & string]

/** What one consumer wants of the topics: the job of a `worker`, with the event as its payload. */
export interface Subscription<
  Topics extends TopicSchemas = TopicSchemas,
  Access extends AccessRule = AccessRule,
> extends JobDefinition<Schema<EventOf<Topics>>, Access> {
  readonly topics: readonly (keyof Topics & string)[]
}

/** A subscription to whatever topics. */
export type AnySubscription = JobDefinition & { readonly topics: readonly string[] }

/** What happens in a system, by name, and what is told of it. */
export interface TopicDefinitions<Topics extends TopicSchemas = TopicSchemas> {
  readonly schemas: Topics
  /**
   * Defines what one consumer wants. Its name is that of the job: each consumer has one of its own.
   *
   * @throws TypeError for a topic that is not defined, or options that make no sense.
   */
  subscription<const Topic extends keyof Topics & string, const Access extends AccessRule = 'authenticated'>(
    name: string,
    topics: readonly Topic[],
    options?: Omit<JobOptions<Schema, Access>, 'payload'>,
  ): Subscription<Pick<Topics, Topic>, Access>
}

/**
 * Defines the topics of a system, shared by those who publish and those who subscribe.
 *
 * @throws TypeError for a topic without a schema.
 *
 * @example
 * const topics = defineTopics({ 'ledger.transferred': z.object({ amount: z.string() }) })
 * const counting = topics.subscription('count-events', ['ledger.transferred'])
 */
export function defineTopics<const Topics extends TopicSchemas>(schemas: Topics): TopicDefinitions<Topics> {
  for (const [topic, schema] of Object.entries(schemas)) {
    if (!/^[a-z][a-z0-9-]*(?:\.[a-z][a-z0-9-]*)*$/.test(topic))
      throw new TypeError(`defineTopics: ${JSON.stringify(topic)} is no topic such as "ledger.transferred".`)
    if (schema?.['~standard'] === undefined)
      throw new TypeError(`defineTopics["${topic}"]: is not a Standard Schema.`)
  }
  const subscription = (
    name: string,
    topics: readonly string[],
    options: Omit<JobOptions<Schema>, 'payload'> = {},
  ): AnySubscription => {
    assertName(name, 'subscription')
    if (topics.length === 0) throw new TypeError(`subscription ${name}: name at least one topic.`)
    for (const topic of topics) assertTopic(schemas, topic, `subscription ${name}`)
    const job = defineJob(name, { ...options, payload: eventSchema(schemas, topics) })
    return Object.freeze({ ...job, topics: Object.freeze([...topics]) })
  }
  return Object.freeze({
    schemas: Object.freeze({ ...schemas }),
    // The topics that were checked are those of the type.
    subscription: subscription as never,
  })
}

/** @throws TypeError naming the nearest topic. */
export function assertTopic(schemas: TopicSchemas, topic: string, path: string): void {
  if (Object.hasOwn(schemas, topic)) return
  const nearest = nearestKey(topic, Object.keys(schemas))
  const hint = nearest === undefined ? '' : ` Did you mean "${nearest}"?`
  throw new TypeError(`${path}: there is no topic ${JSON.stringify(topic)}.${hint}`)
}

/** The schema of an event of one of the topics: what travels is checked by the schema of its own topic. */
function eventSchema(schemas: TopicSchemas, topics: readonly string[]): Schema<never, never> {
  return {
    '~standard': {
      version: 1,
      vendor: 'quintet',
      validate: async (value) => {
        const event = value as Partial<EventInput> | null
        const schema = topics.includes(event?.topic ?? '') ? schemas[event?.topic ?? ''] : undefined
        if (typeof event?.id !== 'string' || typeof event.occurredAt !== 'string' || schema === undefined)
          return { issues: [{ message: `is no event of ${topics.join(', ')}` }] }
        const { id, topic = '', occurredAt } = event
        const data = await validate(schema, event.data, '/data')
        return { value: { id, topic, occurredAt, data } as never }
      },
    },
  }
}

interface EventInput {
  readonly id: string
  readonly topic: string
  readonly occurredAt: string
  readonly data: unknown
}

/** What a publisher gives for a topic. */
export type EventData<Topics extends TopicSchemas, Topic extends keyof Topics> = SchemaInput<Topics[Topic]>
