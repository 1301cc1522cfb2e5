import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Redis } from 'ioredis'
import { type AccessRule, silentLogger } from '@quintet/core'
import { createPipeline, type IncomingCall } from '@quintet/core/kit'
import { createTrackedCache } from '@quintet/redis'
import { steppedUp } from '../../src/index.ts'
import { createTestAuth } from '../../src/testing.ts'
import { codeOf } from '../support/code-of.ts'
import { connect } from '../support/redis.ts'

let redis: Redis
beforeAll(() => {
  redis = connect()
})
afterAll(() => redis.disconnect())

function incoming(token: string, access: AccessRule, freshness?: 'strict'): IncomingCall {
  return {
    operation: { surface: 'rpc', name: 'target', access, freshness, timeout: 1_000 },
    credentials: { scheme: 'bearer', token },
    requestId: 'r1',
    signal: new AbortController().signal,
  }
}

describe('in the pipeline of core', () => {
  it('callers are who their tokens say, and guards decide', async () => {
    await using auth = await createTestAuth({ redis })
    const pipeline = createPipeline({ logger: silentLogger, auth: auth.manager })
    const { accessToken } = await auth.signIn({ roles: ['editor'] })
    const principal = await pipeline.authorize(incoming(accessToken, { roles: ['editor'] }))
    expect(principal).toMatchObject({ userId: 'alice', tenantId: auth.tenantId })
    const codes = [
      await codeOf(pipeline.authorize(incoming(accessToken, { roles: ['admin'] }))),
      await codeOf(pipeline.authorize(incoming(accessToken, steppedUp({ aal: 2 })))),
      await codeOf(pipeline.authorize(incoming('x', 'public', 'strict'))),
    ]
    expect(codes).toEqual(['ERR_CORE_FORBIDDEN', 'ERR_AUTH_STEP_UP_REQUIRED', 'ERR_AUTH_TOKEN_INVALID'])
    expect((await pipeline.authorize(incoming('x', 'public'))).kind).toBe('anonymous')
  })

  it('an operation can demand that the session be read, where others take it from memory', async () => {
    await using auth = await createTestAuth({
      redis,
      manager: {
        freshness: 'tracked',
        track: (options) => createTrackedCache({ client: redis, ...options }),
      },
    })
    const pipeline = createPipeline({ logger: silentLogger, auth: auth.manager })
    const { accessToken, session } = await auth.signIn()
    await pipeline.authorize(incoming(accessToken, 'authenticated'))
    await auth.authority.revoke(session)
    expect(await codeOf(pipeline.authorize(incoming(accessToken, 'authenticated', 'strict')))).toBe(
      'ERR_AUTH_SESSION_REVOKED',
    )
  })
})
