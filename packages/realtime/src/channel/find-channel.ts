import { RealtimeError } from '../errors.ts'
import type { Channel } from './channel.ts'

/** @throws RealtimeError `ERR_REALTIME_UNKNOWN_CHANNEL` */
export function findChannel(
  channels: readonly Channel[],
  name: string,
): { readonly channel: Channel; readonly params: Readonly<Record<string, string>> } {
  for (const channel of channels) {
    const params = channel.pattern.match(name)
    if (params) return { channel, params }
  }
  throw new RealtimeError('ERR_REALTIME_UNKNOWN_CHANNEL', `There is no channel ${JSON.stringify(name)}.`)
}
