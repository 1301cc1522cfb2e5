import type { Clock } from '@quintet/core/kit'
import { AuthError, Refusal } from '../errors.ts'
import {
  advanceScript,
  claimScript,
  createScript,
  fillScript,
  firstSeenScript,
  indexScript,
  readScript,
  revokeAllScript,
  revokeScript,
  rotateScript,
  seenScript,
  timeScript,
  unclaimScript,
} from './scripts.ts'
import { epochKey, indexKey, seenKey, sessionKey, type SessionRef, type UserRef } from './session-keys.ts'
import { fromFields, toFields, type SessionRecord } from './session-record.ts'
import type { BoundedRedis } from './session-redis.ts'
import type {
  FirstSeen,
  NewSession,
  Rotation,
  RotationResult,
  SessionChange,
  SessionLimits,
  StoredSession,
} from './session-store.ts'

/** The sessions in Redis: every step one script, by the clock of Redis unless a clock is given. */
export class SessionRegistry {
  readonly #redis: BoundedRedis
  readonly #clock: Clock | undefined
  readonly #tombstoneTtl: number

  constructor(redis: BoundedRedis, tombstoneTtl: number, clock: Clock | undefined) {
    this.#redis = redis
    this.#tombstoneTtl = tombstoneTtl
    this.#clock = clock
  }

  /** Without a store: makes the session here. Ends the least recently used ones of a user who has too many. */
  async create(
    session: NewSession,
    limits: SessionLimits,
  ): Promise<{ readonly record: SessionRecord; readonly ended: readonly string[] }> {
    const { readEpoch: _, knownEpoch: __, ...given } = session
    const record: SessionRecord = {
      ...given,
      state: 'active',
      reason: null,
      rotatedAt: 0,
      createdAt: 0,
      authenticatedAt: 0,
      expiresAt: 0,
      absoluteExpiresAt: 0,
      epoch: 0,
    }
    // What reaches Redis after the caller was told that it failed makes no session, and ends none for it.
    const time = Number(await this.#redis.run(timeScript, [indexKey(session)], []))
    const answer = (await this.#redis.run(createScript, this.#keys(session), [
      this.#now(),
      session.sessionId,
      limits.idle,
      limits.absolute,
      limits.maxSessionsPerUser,
      this.#tombstoneTtl,
      time + this.#redis.timeout,
      session.readEpoch ?? '',
      ...toFields(record),
    ])) as string | (number | string)[]
    if (answer === 'OUTDATED') throw new AuthError('ERR_AUTH_SIGN_IN_OUTDATED')
    if (typeof answer === 'string') {
      throw new AuthError('ERR_AUTH_UNAVAILABLE', {
        cause: new Refusal(`The session was not made: ${answer}.`),
      })
    }
    const [absoluteExpiresAt = 0, expiresAt = 0, epoch = 0, now = 0] = answer.slice(0, 4).map(Number)
    const made = { ...record, absoluteExpiresAt, expiresAt, epoch }
    return {
      record: { ...made, rotatedAt: now, createdAt: now, authenticatedAt: now },
      ended: answer.slice(4).map(String),
    }
  }

  /** Without a store: refreshes the session here. */
  async rotate(rotation: Rotation): Promise<RotationResult> {
    const answer = (await this.#redis.run(rotateScript, this.#keys(rotation), [
      this.#now(),
      rotation.sessionId,
      rotation.generation,
      rotation.refreshId,
      rotation.refreshHash,
      rotation.nextRefreshId,
      rotation.nextRefreshHash,
      rotation.grace,
      rotation.idle,
      this.#tombstoneTtl,
      rotation.graceAllowed ? '1' : '0',
      rotation.change.authenticatedNow === true ? '1' : '0',
      rotation.jkt ?? '',
      ...changedFields(rotation.change),
    ])) as [RotationResult['outcome'], number, ...unknown[]]
    const [outcome, , ...fields] = answer
    if (outcome !== 'OK' && outcome !== 'GRACE') return { outcome }
    const record = fromFields(rotation, fields)
    return record === undefined ? { outcome: 'MISSING' } : { outcome, record }
  }

  /** Leaves a tombstone, whether or not the session is here. True when an active one ended. */
  async revoke(ref: SessionRef, reason: string): Promise<boolean> {
    const keys = [sessionKey(ref), indexKey(ref)]
    const args = [this.#now(), ref.sessionId, this.#tombstoneTtl, reason]
    return (await this.#redis.run(revokeScript, keys, args)) === 1
  }

  /** `ended` are sessions that the store knows; those in the index end as well. */
  async revokeAll(
    user: UserRef,
    reason: string,
    options: {
      readonly kept?: string
      readonly ended?: readonly string[]
      readonly epoch?: number
      readonly ttl: number
    },
  ): Promise<readonly string[]> {
    const anySid = options.kept ?? '-'
    const keys = [indexKey(user), epochKey(user), sessionKey({ ...user, sessionId: anySid })]
    const answer = (await this.#redis.run(revokeAllScript, keys, [
      this.#now(),
      anySid,
      options.kept ?? '',
      this.#tombstoneTtl,
      reason,
      options.ttl,
      options.epoch ?? 0,
      ...(options.ended ?? []),
    ])) as unknown[]
    return answer.slice(1).map(String)
  }

  /** Takes the place of a session that is not here; the epoch is the user's. */
  async claim(
    ref: SessionRef,
    nonce: string,
    ttl: number,
  ): Promise<{ readonly outcome: 'CLAIMED' | 'BUSY' | 'HELD'; readonly epoch: number }> {
    const answer = await this.#redis.run(claimScript, this.#keys(ref), [this.#now(), nonce, ttl])
    const [outcome, epoch] = answer as ['CLAIMED' | 'BUSY' | 'HELD', number]
    return { outcome, epoch: Number(epoch) }
  }

  async unclaim(ref: SessionRef, nonce: string): Promise<void> {
    await this.#redis.run(unclaimScript, [sessionKey(ref)], [this.#now(), nonce])
  }

  /** Puts what the store says in the place of the claim. */
  async fill(ref: SessionRef, nonce: string, found: StoredSession): Promise<'OK' | 'REVOKED' | 'LOST'> {
    const { record, userEpoch } = found
    const answer = await this.#redis.run(fillScript, this.#keys(ref), [
      this.#now(),
      ref.sessionId,
      nonce,
      this.#tombstoneTtl,
      record.state === 'active' ? 'a' : 'r',
      userEpoch,
      record.epoch,
      record.expiresAt,
      record.absoluteExpiresAt,
      record.reason ?? 'expired',
      ...toFields(record),
    ])
    return answer as 'OK' | 'REVOKED' | 'LOST'
  }

  /** Remembers for a moment that the store knows no such session. */
  async fillMissing(ref: SessionRef, nonce: string, ttl: number): Promise<void> {
    await this.#redis.run(fillScript, this.#keys(ref), [
      this.#now(),
      ref.sessionId,
      nonce,
      ttl,
      'r',
      0,
      0,
      0,
      0,
      'unknown',
      'st',
      'r',
    ])
  }

  /** Brings a rotation that the store has decided here, never backwards. */
  async advance(record: SessionRecord): Promise<'OK' | 'REVOKED' | 'COLD'> {
    const answer = await this.#redis.run(advanceScript, this.#keys(record), [
      this.#now(),
      record.sessionId,
      record.generation,
      record.expiresAt,
      record.absoluteExpiresAt,
      ...toFields(record),
    ])
    return answer as 'OK' | 'REVOKED' | 'COLD'
  }

  /** The session and when it was last seen; undefined when it is not active. */
  async read(
    ref: SessionRef,
  ): Promise<{ readonly record: SessionRecord | undefined; readonly lastSeenAt: number | null }> {
    const keys = [sessionKey(ref), seenKey(ref)]
    const [now, seen, ...fields] = (await this.#redis.run(readScript, keys, [this.#now()])) as unknown[]
    const record = fromFields(ref, fields)
    const alive =
      record !== undefined && record.expiresAt > Number(now) && record.absoluteExpiresAt > Number(now)
    return { record: alive ? record : undefined, lastSeenAt: seen === '' ? null : Number(seen) }
  }

  async epochOf(user: UserRef): Promise<number> {
    return Number(await this.#redis.get(epochKey(user)))
  }

  /** The ids of a user's sessions that have not run out. */
  async sessionIds(user: UserRef): Promise<readonly string[]> {
    return ((await this.#redis.run(indexScript, [indexKey(user)], [this.#now()])) as unknown[]).map(String)
  }

  /** Notes that this generation of the session is in use, and with `noteTime` when it last was. */
  async markSeen(ref: SessionRef, generation: number | undefined, noteTime: boolean): Promise<void> {
    const args = [this.#now(), generation ?? '', noteTime ? '1' : '0']
    await this.#redis.run(seenScript, [seenKey(ref)], args)
  }

  /** The generation that was seen last, and when it was first seen. */
  async firstSeen(ref: SessionRef): Promise<FirstSeen | undefined> {
    const answer = await this.#redis.run(firstSeenScript, [seenKey(ref)], [this.#now()])
    const [refreshId, age] = answer as [string?, number?]
    return refreshId === undefined ? undefined : { refreshId, age: Number(age) }
  }

  /** Whether Redis has an answer about the session: the session or a tombstone, and no placeholder. */
  async knows(ref: SessionRef): Promise<boolean> {
    const [state] = await this.#redis.hmget(sessionKey(ref), ['st'])
    return state === 'a' || state === 'r'
  }

  #keys(ref: SessionRef): string[] {
    return [sessionKey(ref), indexKey(ref), epochKey(ref)]
  }

  /** 0 lets the script ask Redis for the time. */
  #now(): number {
    return this.#clock === undefined ? 0 : Math.floor(this.#clock.now())
  }
}

function changedFields(change: SessionChange): string[] {
  const { aal, amr, roles, permissions } = change
  const fields = {
    ...(aal === undefined ? {} : { aal: String(aal) }),
    ...(amr === undefined ? {} : { amr: JSON.stringify(amr) }),
    ...(roles === undefined ? {} : { rol: JSON.stringify(roles) }),
    ...(permissions === undefined ? {} : { prm: JSON.stringify(permissions) }),
  }
  return Object.entries(fields).flat()
}
