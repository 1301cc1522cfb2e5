import { RealtimeError } from '../errors.ts'
import { assertChannelName } from './channel-pattern.ts'
import type { Channel } from './channel.ts'

/** One channel by its name, with its definition. */
export interface FoundChannel {
  readonly name: string
  readonly channel: Channel
  readonly params: Readonly<Record<string, string>>
}

/**
 * Finds the definition of a channel.
 *
 * @param channels the most specific patterns first.
 * @throws RealtimeError `ERR_REALTIME_BAD_MESSAGE`, `ERR_REALTIME_UNKNOWN_CHANNEL`
 */
export function findChannel(channels: readonly Channel[], name: string): FoundChannel {
  assertChannelName(name)
  for (const channel of channels) {
    const params = channel.pattern.match(name)
    if (params) return { name, channel, params }
  }
  throw new RealtimeError('ERR_REALTIME_UNKNOWN_CHANNEL', `There is no channel ${JSON.stringify(name)}.`)
}
