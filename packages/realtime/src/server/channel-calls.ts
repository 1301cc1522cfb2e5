import { randomUUID } from 'node:crypto'
import type { Invocation } from '@quintet/core'
import type { Operation } from '@quintet/core/kit'
import type { Channel } from '../channel/channel.ts'
import type { FoundChannel } from '../channel/find-channel.ts'
import { RealtimeError } from '../errors.ts'
import type { RealtimeConnection, RealtimeHost } from './connection.ts'

/** The calls of one connection to channels, each through the pipeline with the credentials as they are now. */
export interface ChannelCalls {
  run<Input, Result>(
    operation: Operation,
    steps: {
      readonly input: () => Input | Promise<Input>
      readonly handle: (input: Input, invocation: Invocation) => Promise<Result>
    },
  ): Promise<Result>
  /** Asks whether the caller may subscribe, then does so. */
  subscribe<Result>(found: FoundChannel, then: (invocation: Invocation) => Promise<Result>): Promise<Result>
  /** @throws RealtimeError `ERR_REALTIME_FORBIDDEN` */
  authorize(found: FoundChannel, invocation: Invocation): Promise<void>
}

export function createChannelCalls(connection: RealtimeConnection, host: RealtimeHost): ChannelCalls {
  const calls: ChannelCalls = {
    run(operation, steps) {
      const { credentials, signal } = connection
      return host.pipeline.run({ operation, credentials, requestId: randomUUID(), signal }, steps)
    },
    subscribe(found, then) {
      return calls.run(found.channel.subscribe, {
        input: () => undefined,
        async handle(_input, invocation) {
          await calls.authorize(found, invocation)
          return then(invocation)
        },
      })
    },
    async authorize({ channel, name, params }, invocation) {
      const { principal, signal } = invocation
      tenantOf(channel, invocation)
      if (channel.presence && principal.userId === null) throw forbidden(name)
      if (!channel.authorize) return
      const request = { principal, params, channel: name, services: host.services, signal }
      if ((await channel.authorize(request as never)) !== true) throw forbidden(name)
    },
  }
  return calls
}

/**
 * The tenant whose channel it is: that of the caller, and no other can be named.
 *
 * @throws RealtimeError `ERR_REALTIME_FORBIDDEN` for a caller without a tenant.
 */
export function tenantOf(channel: Channel, { principal }: Invocation): string | null {
  if (channel.scope === 'global') return null
  if (principal.tenantId === null) throw forbidden(channel.pattern.text)
  return principal.tenantId
}

function forbidden(channel: string): RealtimeError {
  return new RealtimeError('ERR_REALTIME_FORBIDDEN', `This is not open to you: ${JSON.stringify(channel)}.`)
}
