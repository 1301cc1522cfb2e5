import type { SocketProtocol } from '@quintet/core/kit'
import { createEngine, type Engine } from './engine.ts'
import { RealtimeError } from '../errors.ts'
import { resolveChannelsOptions, type ChannelsOptions } from './channels-options.ts'
import { realtimeProtocolName } from '../wire/messages.ts'

/**
 * Channels as a protocol of the WebSocket transport, under the subprotocol `quintet.realtime.v1`. Every subscription
 * and every message goes through the pipeline, with the credentials of the connection checked again.
 *
 * @throws TypeError when an option is unknown or out of range.
 *
 * @example
 * websocket({ port: 3006, protocols: [channels({ redis, channels: [notices, rooms] })] })
 */
export function channels(options: ChannelsOptions): SocketProtocol {
  const resolved = resolveChannelsOptions(options)
  let engine: Engine | undefined
  return {
    name: realtimeProtocolName,
    operations: resolved.channels.flatMap((channel) =>
      channel.send ? [channel.subscribe, channel.send] : [channel.subscribe],
    ),
    async start(host) {
      engine ??= createEngine(resolved, host)
    },
    open(connection) {
      if (!engine) throw new RealtimeError('ERR_REALTIME_CLOSED', 'The channels have not been started.')
      return engine.open(connection)
    },
    async close() {
      const closing = engine
      engine = undefined
      await closing?.close()
    },
  }
}
