import type {
  AccessRule,
  Duration,
  Logger,
  Principal,
  PrincipalFor,
  Schema,
  SchemaOutput,
  Size,
} from '@quintet/core'
import {
  accessOption,
  option,
  readOptions,
  schemaOption,
  type NoteProblem,
  type Operation,
  type ResolvedOptions,
} from '@quintet/core/kit'
import { parseChannelPattern, type ChannelParams, type ChannelPattern } from './channel-pattern.ts'
import type { EventPosition } from '../wire/event-position.ts'
import { historyDefaults, historyOption, type History, type HistoryOptions } from './history.ts'

/** What `authorize` gets. */
export interface ChannelRequest<Params, Services, Caller extends Principal> {
  readonly principal: Caller
  readonly params: Params
  readonly channel: string
  readonly services: Services
  readonly signal: AbortSignal
}

/** What `onMessage` gets. */
export interface ChannelMessage<Data, Params, Services, Caller extends Principal> extends ChannelRequest<
  Params,
  Services,
  Caller
> {
  readonly data: Data
  readonly requestId: string
  readonly logger: Logger
  /** Sends an event to everybody on this channel. */
  publish(data: unknown): Promise<EventPosition>
}

export interface ChannelOptions<
  Pattern extends string,
  Access extends AccessRule,
  Message extends Schema | undefined,
  Services,
> {
  /** Who may subscribe and send. */
  readonly access: Access
  /** One sentence for `quintet routes`. */
  readonly description?: string
  /**
   * `'tenant'`: each tenant has a channel of its own under the same name, and no name leads to another tenant's.
   * `'global'`: one channel for all. @defaultValue `'tenant'`
   */
  readonly scope?: 'tenant' | 'global'
  /** Decides over one channel of the pattern, after the access rule, for subscribing and for sending. */
  readonly authorize?: (
    request: ChannelRequest<ChannelParams<Pattern>, Services, PrincipalFor<Access>>,
  ) => boolean | Promise<boolean>
  /** How much can be replayed to clients that come back. `false` for nothing. */
  readonly history?: false | HistoryOptions
  /** Tell subscribers who else is here. Needs signed-in users. @defaultValue false */
  readonly presence?: boolean
  /** What clients may send. Without it they may only listen. */
  readonly message?: Message
  /** What happens with a message. What it returns is answered to the sender. @defaultValue the message is published as it is */
  readonly onMessage?: (
    message: ChannelMessage<SchemaOutput<Message>, ChannelParams<Pattern>, Services, PrincipalFor<Access>>,
  ) => unknown
  /** What a client may send. @defaultValue `'64kb'` */
  readonly maxMessageSize?: Size
  /** What may be published, as JSON. @defaultValue `'256kb'` */
  readonly maxEventSize?: Size
  /** How long `authorize` and `onMessage` may take; 0 for no limit. @defaultValue `'30s'` */
  readonly timeout?: Duration
  /** Demand a session read for every subscription and message. */
  readonly freshness?: 'strict'
}

export const channelDefaults = Object.freeze({
  scope: 'tenant',
  history: historyDefaults,
  presence: false,
  maxMessageSize: '64kb',
  maxEventSize: '256kb',
  timeout: '30s',
} as const)

/** A family of channels: what may be subscribed to under a pattern, and by whom. Made by {@link channel}. */
export interface Channel {
  readonly pattern: ChannelPattern
  readonly scope: 'tenant' | 'global'
  readonly history: History
  readonly presence: boolean
  readonly maxMessageSize: number
  readonly maxEventSize: number
  readonly message: Schema | undefined
  readonly authorize:
    | ((request: ChannelRequest<never, never, never>) => boolean | Promise<boolean>)
    | undefined
  readonly onMessage: ((message: ChannelMessage<never, never, never, never>) => unknown) | undefined
  readonly subscribe: Operation
  /** Undefined where clients may only listen. */
  readonly send: Operation | undefined
}

const spec = {
  access: accessOption(),
  description: option.text().optional(),
  scope: option.oneOf(['tenant', 'global'], channelDefaults.scope),
  authorize: option.function<NonNullable<Channel['authorize']>>().optional(),
  history: historyOption,
  presence: option.boolean(channelDefaults.presence),
  message: schemaOption().optional(),
  onMessage: option.function<NonNullable<Channel['onMessage']>>().optional(),
  maxMessageSize: option.size(channelDefaults.maxMessageSize, { min: 1 }),
  maxEventSize: option.size(channelDefaults.maxEventSize, { min: 1 }),
  timeout: option.delay(channelDefaults.timeout),
  freshness: option.oneOf(['strict']).optional(),
}

const brand = Symbol.for('quintet.channel')

/** Whether it was made by {@link channel}. */
export function isChannel(value: unknown): value is Channel {
  return typeof value === 'object' && value !== null && Object.hasOwn(value, brand)
}

/**
 * Defines a family of channels.
 *
 * @throws TypeError when the pattern is none, no access rule is declared, or the options contradict each other.
 *
 * @example
 * channel('rooms/:room', {
 *   access: 'authenticated',
 *   message: z.object({ text: z.string().max(500) }),
 *   onMessage: ({ data, principal, publish }) => publish({ text: data.text, from: principal.userId }),
 * })
 */
export function channel<
  const Pattern extends string,
  const Access extends AccessRule,
  Message extends Schema | undefined = undefined,
  Services = unknown,
>(pattern: Pattern, options: ChannelOptions<Pattern, Access, Message, Services>): Channel {
  const parsed = parseChannelPattern(pattern)
  const path = `channel ${JSON.stringify(pattern)}`
  const {
    access,
    freshness,
    timeout,
    description: _description,
    ...rest
  } = readOptions(options as ChannelOptions<Pattern, Access, undefined, Services>, spec, path, {
    check: refuseContradictions,
  })
  const operation = (verb: string): Operation =>
    Object.freeze({ surface: 'message', name: `${verb} ${pattern}`, access, freshness, timeout })
  const defined: Channel = {
    ...rest,
    pattern: parsed,
    subscribe: operation('subscribe'),
    send: rest.message ? operation('send') : undefined,
  }
  return Object.freeze(Object.defineProperty(defined, brand, { value: true }))
}

function refuseContradictions(
  { access, scope, presence, message, onMessage }: ResolvedOptions<typeof spec>,
  note: NoteProblem,
): void {
  if (access === 'public' && scope === 'tenant')
    note('', "the public belongs to no tenant. Add scope: 'global', or another access rule.")
  if (access === 'public' && presence) note('presence', "needs signed-in users, not access: 'public'.")
  if (onMessage && !message) note('onMessage', 'needs a schema of what clients may send, as message.')
}
