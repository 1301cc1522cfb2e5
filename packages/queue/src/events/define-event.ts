import type { Schema, SchemaOutput } from '@quintet/core'
import { refuseUnknownKeys } from '@quintet/core/kit'
import { defineTopics, type TopicDefinitions, type TopicSchemas } from './define-topics.ts'

/** Who may hear of an event: all users of its tenant, or some of them. */
export type Audience =
  | 'tenant'
  | {
      /** Ids of users. */
      readonly users?: readonly string[]
      /** Users with one of these roles. */
      readonly roles?: readonly string[]
    }

export interface EventOptions<Data> {
  /** Who may hear of it, beyond the apps themselves. */
  readonly audience: Audience | ((data: Data) => Audience)
  /** The ids of the users of whom the data tells: with them, traces of it are erased. `false` where it tells of none. */
  readonly personal: false | ((data: Data) => readonly (string | null)[])
}

/** One kind of event. Made by {@link defineEvent}. */
export interface EventDefinition<Topic extends string = string, Data extends Schema = Schema> {
  readonly topic: Topic
  readonly schema: Data
  audience(data: SchemaOutput<Data>): Audience
  subjects(data: SchemaOutput<Data>): readonly string[]
}

/** The topics of {@link defineEvents}, with who hears of them and whom they tell of. */
export interface EventDefinitions<
  Topics extends TopicSchemas = TopicSchemas,
> extends TopicDefinitions<Topics> {
  /** Who may hear of an event; no one where its data is none of the topic. */
  audienceOf(event: { readonly topic: string; readonly data: unknown }): Audience
  /** The users of whom an event tells. */
  subjectsOf(event: { readonly topic: string; readonly data: unknown }): readonly string[]
}

/**
 * Defines one kind of event: its data, who may hear of it, and the users of whom it tells.
 *
 * @throws TypeError for options that are unknown or missing: nothing is told to all, or kept for ever, by an oversight.
 *
 * @example
 * const transferred = defineEvent('ledger.transferred', z.object({ payer: z.uuid(), amount: z.string() }), {
 *   audience: ({ payer }) => ({ users: [payer], roles: ['owner'] }),
 *   personal: ({ payer }) => [payer],
 * })
 */
export function defineEvent<const Topic extends string, Data extends Schema>(
  topic: Topic,
  schema: Data,
  options: EventOptions<SchemaOutput<Data>>,
): EventDefinition<Topic, Data> {
  refuseUnknownKeys(options, ['audience', 'personal'], `event "${topic}"`)
  const { audience, personal } = options
  if (audience !== 'tenant' && typeof audience !== 'function' && !isGroup(audience))
    throw new TypeError(
      `event "${topic}".audience: say who may hear of it: 'tenant', users and roles, or a function.`,
    )
  if (personal !== false && typeof personal !== 'function')
    throw new TypeError(
      `event "${topic}".personal: give the users of whom it tells, as a function, or false.`,
    )
  return Object.freeze({
    topic,
    schema,
    audience: typeof audience === 'function' ? audience : () => audience,
    subjects: (data: SchemaOutput<Data>) =>
      personal === false ? [] : personal(data).filter((subject) => subject !== null),
  })
}

type SchemasOf<Events extends readonly EventDefinition[]> = {
  readonly [Event in Events[number] as Event['topic']]: Event['schema']
}

/**
 * Defines the events of a system as its topics.
 *
 * @throws TypeError for a topic that is defined twice, or is none.
 *
 * @example
 * const topics = defineEvents(transferred, funded)
 * const counting = topics.subscription('count-events', ['ledger.transferred'])
 */
export function defineEvents<const Events extends readonly EventDefinition[]>(
  ...events: Events
): EventDefinitions<SchemasOf<Events>> {
  const byTopic = new Map<string, EventDefinition>()
  for (const event of events) {
    if (byTopic.has(event.topic)) throw new TypeError(`defineEvents: ${event.topic} is defined twice.`)
    byTopic.set(event.topic, event)
  }
  const schemas = Object.fromEntries([...byTopic.values()].map(({ topic, schema }) => [topic, schema]))
  const topics = defineTopics(schemas) as unknown as TopicDefinitions<SchemasOf<Events>>
  return Object.freeze({
    ...topics,
    audienceOf: ({ topic, data }) => byTopic.get(topic)?.audience(data) ?? {},
    subjectsOf: ({ topic, data }) => byTopic.get(topic)?.subjects(data) ?? [],
  } satisfies EventDefinitions<SchemasOf<Events>>)
}

function isGroup(audience: unknown): boolean {
  if (typeof audience !== 'object' || audience === null) return false
  refuseUnknownKeys(audience, ['users', 'roles'], 'audience')
  return true
}
