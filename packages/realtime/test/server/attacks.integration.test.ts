import { randomUUID } from 'node:crypto'
import type { ErrorKind, Schema } from '@quintet/core'
import {
  type AttackHost,
  createAttackHost,
  surfaceAttacks,
  type SurfaceOutcome,
  type SurfaceRequest,
} from '@quintet/core/testing'
import { redisUrl } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, it } from 'vitest'
import { z } from 'zod'
import { channel, channels } from '../../src/index.ts'
import { openTestSession } from '../support/session.ts'

/** Every procedure of the attack host becomes a channel whose messages its handler answers. */
describe('messages to a channel stand', () => {
  let redis: Redis
  let host: AttackHost
  let protocol: ReturnType<typeof channels>

  beforeAll(async () => {
    redis = new Redis(redisUrl())
    host = createAttackHost()
    const definitions = [...host.procedures.values()]
      .filter(({ procedure }) => procedure.mode === 'call')
      .map(({ name, procedure }) =>
        channel(name, {
          access: procedure.access,
          scope: 'global',
          timeout: procedure.timeout,
          maxMessageSize: procedure.maxInputSize,
          message: (procedure.input ?? z.unknown()) as Schema,
          onMessage: ({ data, principal, requestId, signal, logger }) =>
            procedure.handler({
              input: data,
              principal,
              services: {},
              requestId,
              signal,
              logger,
              deadline: null,
              lastEventId: undefined,
            } as never),
        }),
      )
    protocol = channels({ redis, channels: definitions, prefix: `test-rt-${randomUUID()}` })
    await protocol.start?.(host)
  })

  afterAll(async () => {
    await protocol.close?.()
    await host.close()
    redis.disconnect()
  })

  async function call({ method, input, token }: SurfaceRequest): Promise<SurfaceOutcome> {
    const session = openTestSession(protocol, host, token)
    try {
      const answer = await session.ask({ type: 'publish', channel: method, data: input })
      if (answer.type === 'published') return { ok: true, output: answer.result }
      const { kind, code, message } = (
        answer as unknown as { error: { kind: ErrorKind; code: string; message: string } }
      ).error
      return { ok: false, kind, code, message }
    } finally {
      session.close()
    }
  }

  it.each(surfaceAttacks)('$name', (attack) => attack.run({ host, call }))
})
