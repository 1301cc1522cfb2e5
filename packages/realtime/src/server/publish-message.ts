import { validate } from '@quintet/core/kit'
import type { FoundChannel } from '../channel/find-channel.ts'
import { RealtimeError } from '../errors.ts'
import { publishEvent } from '../topic/event-log.ts'
import type { RealtimeRedis } from '../topic/redis-port.ts'
import { topicKeys } from '../topic/topic-keys.ts'
import { toEventJson } from '../wire/event-json.ts'
import type { EventPosition } from '../wire/event-position.ts'
import { tenantOf, type ChannelCalls } from './channel-calls.ts'

export interface PublishSetup {
  readonly calls: ChannelCalls
  readonly redis: RealtimeRedis
  readonly prefix: string
  readonly services: unknown
}

/**
 * Takes what a client has sent to a channel. Answers with what its handler returned, as JSON; undefined for nothing.
 *
 * @param size of the whole message in bytes.
 */
export async function publishMessage(
  { calls, redis, prefix, services }: PublishSetup,
  found: FoundChannel,
  data: unknown,
  size: number,
): Promise<string | undefined> {
  const { channel, name, params } = found
  const { send: operation, message: schema } = channel
  // Who may not even listen is told that, not what else the channel lacks.
  if (!operation || !schema) {
    return calls.subscribe(found, async () => {
      throw new RealtimeError('ERR_REALTIME_NO_MESSAGES', `Clients cannot send to ${JSON.stringify(name)}.`)
    })
  }
  return calls.run(operation, {
    input() {
      if (size > channel.maxMessageSize) {
        throw new RealtimeError(
          'ERR_REALTIME_TOO_LARGE',
          `The message is larger than ${channel.maxMessageSize} bytes.`,
        )
      }
      return validate(schema, data)
    },
    async handle(input, invocation) {
      await calls.authorize(found, invocation)
      const keys = topicKeys(redis, prefix, tenantOf(channel, invocation), name)
      const publish = (event: unknown): Promise<EventPosition> =>
        publishEvent(redis, keys, channel.history, toEventJson(event, channel.maxEventSize))
      if (!channel.onMessage) {
        await publish(input)
        return undefined
      }
      const { principal, signal, requestId, logger } = invocation
      const call = {
        data: input,
        principal,
        params,
        channel: name,
        services,
        signal,
        requestId,
        logger,
        publish,
      }
      // Written inside the pipeline, which logs a result that JSON cannot hold as a failure of the handler.
      return JSON.stringify(await channel.onMessage(call as never)) as string | undefined
    },
  })
}
