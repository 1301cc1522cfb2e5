import type { Logger } from '@quintet/core'
import type { Clock } from '@quintet/core/kit'
import { bounded, shortestAnswer } from '../commands/bounded.ts'
import { describeFailure, RedisError } from '../errors.ts'
import { releaseLock, renewLock } from './lock-scripts.ts'
import type { ScriptClient } from '../commands/script.ts'

/** A lock that is held, and renewed until it is released or lost. */
export interface Lock extends AsyncDisposable {
  readonly name: string
  /**
   * Greater than that of every earlier holder. Give it to whatever you write to, and let it refuse smaller ones:
   * that alone protects against a holder that was paused for longer than its lock lived.
   */
  readonly fencingToken: number
  /** Aborts, with `ERR_REDIS_LOCK_LOST`, at the latest when the lock may have ended. Stop working then. */
  readonly signal: AbortSignal
  /** Releases the lock; takes until it would expire at most, and a second at least. False when it had been lost before. Idempotent. */
  release(): Promise<boolean>
}

export interface Holding {
  readonly client: ScriptClient
  readonly keys: readonly string[]
  readonly name: string
  readonly owner: string
  readonly ttl: number
  readonly clock: Clock
  readonly logger: Logger
  /** When the command that took the lock was sent. */
  readonly sent: number
  readonly fencingToken: number
}

/** Renews a lock that was just taken, for as long as that is certain to succeed in time. */
export function holdLock(holding: Holding): Lock {
  const { client, keys, name, owner, ttl, clock, logger, fencingToken } = holding
  const controller = new AbortController()
  let deadline: NodeJS.Timeout | undefined
  let released: Promise<boolean> | undefined
  let liveUntil = 0

  /** The lock lives at least until `ttl` after the command was sent; a little less by our clock, which may be slower. */
  function liveFrom(sent: number): void {
    clearTimeout(deadline)
    liveUntil = sent + ttl * 0.98
    const left = liveUntil - clock.monotonic()
    if (left <= 0) lose()
    else deadline = setTimeout(lose, left)
  }

  function stop(): void {
    clearTimeout(deadline)
    clearInterval(renewal)
  }

  function lose(): void {
    stop()
    if (released === undefined) controller.abort(lost(name))
  }

  async function renew(): Promise<void> {
    const sent = clock.monotonic()
    try {
      const renewed = await renewLock(client, keys.slice(0, 1), [owner, ttl])
      if (controller.signal.aborted || released !== undefined) return
      if (Number(renewed) === 1) liveFrom(sent)
      else lose()
    } catch (error) {
      // The deadline decides; until then the next renewal may succeed.
      logger.warn({ lock: name, reason: describeFailure(error) }, 'a lock could not be renewed')
    }
  }

  async function releaseHeld(): Promise<boolean> {
    stop()
    if (controller.signal.aborted) return false
    // A blocked event loop runs this before the timer that would have declared the loss.
    const left = liveUntil - clock.monotonic()
    try {
      const answer = releaseLock(client, keys.slice(0, 1), [owner])
      // By then the lock has ended by itself; a client of one's own may wait for ever.
      return Number(await bounded(answer, Math.max(left, shortestAnswer))) === 1
    } catch (error) {
      logger.warn(
        { lock: name, reason: describeFailure(error) },
        'a lock could not be released and will expire',
      )
      // Without an answer only the deadline tells whether another holder was possible.
      return left > 0
    }
  }

  const renewal = setInterval(() => void renew(), ttl / 3)
  liveFrom(holding.sent)
  return {
    name,
    fencingToken,
    signal: controller.signal,
    release() {
      released ??= releaseHeld()
      return released
    },
    async [Symbol.asyncDispose]() {
      await this.release()
    },
  }
}

export function lost(name: string): RedisError {
  return new RedisError('ERR_REDIS_LOCK_LOST', `The lock "${name}" may have passed to another owner.`)
}
