import { randomUUID } from 'node:crypto'
import type { Redis } from 'ioredis'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { BoundedRedis } from '../../src/sessions/session-redis.ts'
import { epochKey, sessionKey } from '../../src/sessions/session-keys.ts'
import { SessionRegistry } from '../../src/sessions/session-registry.ts'
import type { NewSession } from '../../src/sessions/session-store.ts'
import { connect } from '../support/redis.ts'

let redis: Redis
let registry: SessionRegistry

beforeEach(() => {
  redis = connect()
  registry = new SessionRegistry(new BoundedRedis(redis, 2_000), 60_000, undefined)
})

afterEach(() => {
  redis.disconnect()
})

const newSession = (): NewSession => ({
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
  readEpoch: null,
  knownEpoch: 0,
})
const limits = { idle: 60_000, absolute: 120_000, maxSessionsPerUser: 10 }

describe('advance', () => {
  it('never takes a session back to an earlier generation, in whatever order rotations arrive', async () => {
    const { record } = await registry.create(newSession(), limits)
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

  it('does nothing for a session that ended with all others of its user', async () => {
    const { record } = await registry.create(newSession(), limits)
    await redis.set(epochKey(record), '1')
    expect(await registry.advance({ ...record, generation: 2 })).toBe('REVOKED')
    expect((await registry.read(record)).record).toMatchObject({ generation: 1 })
  })

  it('lets the tombstone of a session win', async () => {
    const { record } = await registry.create(newSession(), limits)
    await registry.revoke(record, 'test')
    expect(await registry.advance({ ...record, generation: 2 })).toBe('REVOKED')
    expect(await redis.hget(sessionKey(record), 'st')).toBe('r')
  })

  it('goes on with a session that outlived the end of the others, where a failover has taken that back', async () => {
    const { record } = await registry.create(newSession(), limits)
    // The next session that is started brings the epoch of the store.
    await redis.set(epochKey(record), '1')
    expect(await registry.advance({ ...record, generation: 2, epoch: 1 })).toBe('OK')
    expect((await registry.read(record)).record).toMatchObject({ generation: 2, epoch: 1 })
  })

  it('throws away the claim of somebody who may have read the generation before', async () => {
    const { record } = await registry.create(newSession(), limits)
    await redis.del(sessionKey(record))
    expect(await registry.claim(record, 'nonce', 2_000)).toEqual({ outcome: 'CLAIMED', epoch: 0 })
    expect(await registry.advance({ ...record, generation: 2 })).toBe('COLD')
    expect(await registry.fill(record, 'nonce', { record, userEpoch: 0 })).toBe('LOST')
    expect((await registry.read(record)).record).toBeUndefined()
  })
})

describe('revokeAll', () => {
  it('keeps the kept session when a rotation from before arrives after it', async () => {
    const { record } = await registry.create(newSession(), limits)
    await registry.revokeAll(record, 'test', { kept: record.sessionId, epoch: 1, ttl: 60_000 })
    expect(await registry.advance({ ...record, generation: 2 })).toBe('OK')
    expect(await registry.advance({ ...record, generation: 3, epoch: 1 })).toBe('OK')
  })

  it('that comes late ends no session that was started after it', async () => {
    const { record: former } = await registry.create(newSession(), limits)
    await registry.revokeAll(former, 'test', { epoch: 1, ttl: 60_000, ended: [former.sessionId] })
    const { record } = await registry.create(
      { ...newSession(), tenantId: former.tenantId, userId: former.userId },
      limits,
    )
    await registry.revokeAll(former, 'test', { epoch: 1, ttl: 60_000, ended: [former.sessionId] })
    expect((await registry.read(former)).record).toBeUndefined()
    expect((await registry.read(record)).record).toMatchObject({ epoch: 1 })
  })
})

describe('fill', () => {
  it('leaves a tombstone for a session that ended with all others of its user', async () => {
    const { record } = await registry.create(newSession(), limits)
    await redis.del(sessionKey(record))
    await redis.set(epochKey(record), '3')
    await registry.claim(record, 'nonce', 2_000)
    expect(await registry.fill(record, 'nonce', { record: { ...record, epoch: 2 }, userEpoch: 2 })).toBe(
      'REVOKED',
    )
    expect(await redis.hget(sessionKey(record), 'st')).toBe('r')
  })

  it('gives the claim up when the epoch was raised since: what was read may be from before', async () => {
    const { record } = await registry.create(newSession(), limits)
    await redis.del(sessionKey(record))
    await registry.claim(record, 'nonce', 2_000)
    await registry.revokeAll(record, 'test', { kept: record.sessionId, epoch: 1, ttl: 60_000 })
    expect(await registry.fill(record, 'nonce', { record, userEpoch: 0 })).toBe('LOST')
    expect(await registry.claim(record, 'again', 2_000)).toEqual({ outcome: 'CLAIMED', epoch: 1 })
    expect(await registry.fill(record, 'again', { record: { ...record, epoch: 1 }, userEpoch: 1 })).toBe('OK')
  })

  it('takes the user’s epoch over from the database, and never back', async () => {
    const { record } = await registry.create(newSession(), limits)
    for (const [userEpoch, expected] of [
      [4, '4'],
      [2, '4'],
    ] as const) {
      await redis.del(sessionKey(record))
      await registry.claim(record, 'nonce', 2_000)
      expect(await registry.fill(record, 'nonce', { record: { ...record, epoch: 4 }, userEpoch })).toBe('OK')
      expect(await redis.get(epochKey(record))).toBe(expected)
    }
  })

  it('leaves a tombstone for a session that has run out', async () => {
    const { record } = await registry.create(newSession(), limits)
    await redis.del(sessionKey(record))
    await registry.claim(record, 'nonce', 2_000)
    const found = { record: { ...record, expiresAt: Date.now() - 1 }, userEpoch: 0 }
    expect(await registry.fill(record, 'nonce', found)).toBe('REVOKED')
  })
})
