import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BoundedRedis } from '../src/sessions/session-redis.ts'
import { SessionRegistry } from '../src/sessions/session-registry.ts'
import { connect } from './support/redis.ts'

let redis: Redis
let registry: SessionRegistry

beforeEach(() => {
  redis = connect()
  registry = new SessionRegistry(new BoundedRedis(redis, '2s', 'test'), 60_000, undefined)
})

afterEach(() => {
  redis.disconnect()
})

describe('advance', () => {
  it('never takes a session back to an earlier generation, in whatever order rotations arrive', async () => {
    const { record } = await registry.create(
      {
        sessionId: randomUUID(),
        tenantId: randomUUID(),
        userId: randomUUID(),
        generation: 1,
        refreshId: 'first',
        refreshHash: 'hash of the first',
        previousId: null,
        previousHash: null,
        graceAllowed: true,
        aal: 1,
        amr: ['pwd'],
        roles: [],
        permissions: [],
        device: {},
        jkt: null,
      },
      { idle: 60_000, absolute: 120_000, maxSessionsPerUser: 10 },
    )
    const rotated = (generation: number): typeof record => ({
      ...record,
      generation,
      refreshId: `refresh ${generation}`,
    })
    expect(await registry.advance(rotated(3))).toBe('OK')
    expect(await registry.advance(rotated(2))).toBe('OK')
    expect((await registry.read(record)).record).toMatchObject({ generation: 3, refreshId: 'refresh 3' })
    expect(await registry.advance(rotated(4))).toBe('OK')
    expect((await registry.read(record)).record).toMatchObject({ generation: 4, refreshId: 'refresh 4' })
  })
})
