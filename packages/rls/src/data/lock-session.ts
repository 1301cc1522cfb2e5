import type { PoolClient } from 'pg'
import { runDetached } from '../context/rls-context.ts'
import { RlsError } from '../errors.ts'
import { answerWithin, connectWithin, destroySocket, settleWithin } from '../sql/answer-within.ts'
import { mapPostgresError } from '../sql/postgres-errors.ts'

/** Where locks take their connection from: a pool of pg, such as `systemPool`. Not through a PgBouncer in transaction mode. */
export interface LockPool {
  connect(): Promise<PoolClient>
}

/** An advisory lock that this process holds. */
export interface HeldLock {
  /** The connection that all locks of the pool share. */
  readonly client: PoolClient
  /** Resolves once the lock is free, within the limit; the connection is closed where PostgreSQL does not say so. */
  release(limit: number): Promise<void>
}

export interface LockAttempt {
  /** Milliseconds that a connection is waited for. */
  readonly connectLimit: number
  /** Milliseconds that the answer of PostgreSQL is waited for. */
  readonly answerLimit: number
  readonly signal: AbortSignal | undefined
  /** Called once when the connection is lost while the lock is held. */
  readonly onLost: (cause: unknown) => void
}

/** The connection was lost while it was asked: another one may answer. */
export class LockSessionLost extends RlsError {
  constructor(cause: unknown) {
    super('The database cannot be reached now.', {
      code: 'ERR_RLS_DATABASE_UNAVAILABLE',
      kind: 'unavailable',
      retryAfter: 1_000,
      cause,
    })
  }
}

/**
 * Takes a session-level advisory lock if it is free, on the one connection that holds all locks of this process and pool:
 * however many are held or waited for, they cost one connection, and none while there is no lock.
 *
 * @returns undefined when the lock is held, by another session or by this process.
 * @throws LockSessionLost when the connection breaks, RlsError `ERR_RLS_DATABASE_UNAVAILABLE` when the time has passed, and the
 *   signal's reason.
 */
export async function tryAdvisoryLock(
  pool: LockPool,
  key: string,
  { connectLimit, answerLimit, signal, onLost }: LockAttempt,
): Promise<HeldLock | undefined> {
  const session = await joinSession(pool, connectLimit, signal)
  const { client, locks } = session
  // Within one session PostgreSQL would grant it once more.
  if (locks.has(key)) return void leaveSession(session)
  locks.set(key, undefined)
  const forget = (): void => {
    locks.delete(key)
    leaveSession(session)
  }
  const unlock = (): Promise<unknown> => client.query('select pg_advisory_unlock($1::bigint)', [key])
  const asked = client.query<{ held: boolean }>('select pg_try_advisory_lock($1::bigint) as held', [key])
  const answer = asked.then(({ rows }) => rows[0]?.held === true)
  try {
    if (await settleWithin(answer, answerLimit, signal)) {
      locks.set(key, onLost)
      return {
        client,
        async release(releaseLimit) {
          if (!session.lost) await answerWithin(client, releaseLimit, unlock).catch(session.lose)
          forget()
        },
      }
    }
  } catch (error) {
    // PostgreSQL may tell of the end before the connection does.
    const broken = session.lost || mapPostgresError(error)?.kind === 'unavailable'
    // Whoever holds a lock notices by its heartbeat that the connection is silent; without one, nobody asks again.
    if (!holdsLocks(session)) session.lose(error)
    void answer.then((held) => (held ? unlock() : undefined)).then(forget, forget)
    throw broken ? new LockSessionLost(error) : error
  }
  forget()
  return undefined
}

interface LockSession {
  readonly client: PoolClient
  /** By key: what to call when a lock that is held is lost; undefined for one that is asked for. */
  readonly locks: Map<string, ((cause: unknown) => void) | undefined>
  users: number
  lost: boolean
  /** Closes the connection and tells the holders of its locks. */
  readonly lose: (cause: unknown) => void
  /** Gives the connection back to its pool. */
  readonly release: () => void
}

interface Slot {
  session: LockSession | undefined
  /** Settles when a session was opened or could not be. */
  opening: Promise<void> | undefined
}

const slots = new WeakMap<LockPool, Slot>()

async function joinSession(
  pool: LockPool,
  limit: number,
  signal: AbortSignal | undefined,
): Promise<LockSession> {
  let slot = slots.get(pool)
  if (slot === undefined) slots.set(pool, (slot = { session: undefined, opening: undefined }))
  const end = performance.now() + limit
  for (;;) {
    const { session, opening } = slot
    if (session !== undefined) {
      session.users++
      return session
    }
    const left = Math.max(end - performance.now(), 1)
    if (opening !== undefined) await settleWithin(opening, left, signal)
    else await openSession(slot, pool, left, signal)
  }
}

async function openSession(
  slot: Slot,
  pool: LockPool,
  limit: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  slot.opening = promise
  try {
    // The connection outlives the call that opens it.
    const client = await runDetached(() => connectWithin(pool, limit, signal))
    slot.session = createSession(slot, client)
  } finally {
    slot.opening = undefined
    resolve()
  }
}

function createSession(slot: Slot, client: PoolClient): LockSession {
  const detach = (destroy: boolean): void => {
    if (slot.session === session) slot.session = undefined
    client.removeListener('end', lose)
    client.release(destroy)
    // What a closed connection still says is no news.
    if (!destroy) client.removeListener('error', lose)
  }
  const lose = (cause?: unknown): void => {
    if (session.lost) return
    session.lost = true
    destroySocket(client)
    detach(true)
    for (const onLost of session.locks.values()) onLost?.(cause)
  }
  const session: LockSession = {
    client,
    locks: new Map(),
    users: 0,
    lost: false,
    lose,
    release: () => detach(false),
  }
  client.on('error', lose)
  client.on('end', lose)
  return session
}

function leaveSession(session: LockSession): void {
  session.users--
  if (session.users === 0 && !session.lost) session.release()
}

function holdsLocks({ locks }: LockSession): boolean {
  return locks.values().some((onLost) => onLost !== undefined)
}
