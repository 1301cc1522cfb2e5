import { within } from '@quintet/core/kit'
import type { PoolClient } from 'pg'
import { RlsError } from '../errors.ts'

/** Takes a connection within a time limit, unless the signal aborts before; one that comes later goes back. */
export async function connectWithin(
  pool: { connect(): Promise<PoolClient> },
  limit: number,
  signal?: AbortSignal,
): Promise<PoolClient> {
  const connecting = pool.connect()
  try {
    return await settleWithin(connecting, limit, signal)
  } catch (error) {
    connecting.then(
      (late) => late.release(),
      () => undefined,
    )
    throw error
  }
}

/**
 * Waits for what is asked on a connection within a time limit, unless the signal aborts before. An answer that comes later
 * would reach a later holder, so the connection is closed then: release it as broken.
 *
 * @throws RlsError `ERR_RLS_DATABASE_UNAVAILABLE` when the time has passed.
 */
export async function answerWithin<Result>(
  client: PoolClient,
  limit: number,
  ask: () => Promise<Result>,
  signal?: AbortSignal,
): Promise<Result> {
  const asked = ask()
  let settled = false
  const done = (): void => void (settled = true)
  asked.then(done, done)
  try {
    return await settleWithin(asked, limit, signal)
  } catch (error) {
    if (!settled) {
      // The driver tells of the loss, which is no news.
      client.on('error', () => undefined)
      destroySocket(client)
    }
    throw error
  }
}

/** Asks on a connection of its own, which is not used again where the answer has failed. */
export async function askWithin<Result>(
  pool: { connect(): Promise<PoolClient> },
  limit: number,
  ask: (client: PoolClient) => Promise<Result>,
): Promise<Result> {
  const client = await connectWithin(pool, limit)
  let failed = true
  try {
    const answer = await answerWithin(client, limit, () => ask(client))
    failed = false
    return answer
  } finally {
    client.release(failed)
  }
}

/** Closes the socket without a goodbye, which a silent server would not answer; what waits on it fails. */
export function destroySocket(client: PoolClient): void {
  const { connection } = client as unknown as { connection?: { stream?: { destroy(): void } } }
  connection?.stream?.destroy()
}

/** Waits for a promise within a time limit, unless the signal aborts before. */
export function settleWithin<Result>(
  promise: Promise<Result>,
  limit: number,
  signal: AbortSignal | undefined,
): Promise<Result> {
  return within(limit, promise, () => noAnswer(limit), signal)
}

function noAnswer(limit: number): RlsError {
  return new RlsError('The database cannot be reached now.', {
    code: 'ERR_RLS_DATABASE_UNAVAILABLE',
    kind: 'unavailable',
    retryAfter: 1_000,
    cause: new Error(`The database has not answered within ${limit} ms.`),
  })
}
