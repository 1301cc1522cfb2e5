import { createHash } from 'node:crypto'
import { type Clock, option, type Option, systemClock } from '@quintet/core/kit'
import { AuthError, Refusal } from '../errors.ts'

/** What is needed of a Redis client; one of ioredis fits. It must be on a server with the policy `noeviction`. */
export interface SessionRedis {
  get(key: string): Promise<string | null>
  hmget(key: string, ...fields: string[]): Promise<(string | null)[]>
  evalsha(sha: string, numberOfKeys: number, ...args: string[]): Promise<unknown>
  eval(lua: string, numberOfKeys: number, ...args: string[]): Promise<unknown>
  /** Where a client has these, nothing is sent before it is connected, so that no queue sends it later. */
  readonly status?: string
  once?(event: 'ready', listener: () => void): unknown
  connect?(): Promise<unknown>
  /** Where a client has these, an authority refuses one that sends commands again after a lost connection. */
  readonly options?: {
    readonly maxRetriesPerRequest?: number | null | undefined
    readonly redisOptions?: unknown
  }
}

/** The client for sessions as an option. */
export function sessionRedisOption(): Option<SessionRedis> {
  return option.collaborator<SessionRedis>(['get', 'hmget', 'evalsha', 'eval'], 'a Redis client (ioredis)')
}

/** How long one command may take until the answer is "unavailable". */
export const defaultCommandTimeout = 400

/** After so many commands in a row that found no working Redis, further ones fail at once, until one has been answered. */
const failuresToOpen = 5
const probeInterval = 250

/** Replies of a server that is there and cannot serve: it loads, fails over or is stuck. */
const awayReply = /^(?:BUSY|CLUSTERDOWN|LOADING|MASTERDOWN|READONLY|TRYAGAIN)\b/

/** A script, sent by its digest, and in full only to a server that does not know it. */
export interface SessionScript {
  readonly lua: string
  readonly sha: string
}

export function defineScript(lua: string): SessionScript {
  return Object.freeze({ lua, sha: createHash('sha1').update(lua).digest('hex') })
}

/**
 * Talks to Redis in bounded time: a command that is not answered within the timeout, or that fails for
 * whatever reason, is `ERR_AUTH_UNAVAILABLE`. Never a pass, and never a reason to throw tokens away.
 *
 * Where Redis does not answer, a circuit breaker soon spares callers the wait. A command that Redis refuses (out of memory, an
 * error in a script) does not count: others may well succeed.
 */
export class BoundedRedis {
  readonly #redis: SessionRedis
  readonly #timeout: number
  readonly #clock: Clock
  #ready: Promise<void> | undefined
  #failures = 0
  #probeAt = 0

  /** `timeout` in milliseconds. */
  constructor(redis: SessionRedis, timeout: number, clock: Clock = systemClock) {
    this.#redis = redis
    this.#timeout = timeout
    this.#clock = clock
  }

  /** How long a caller waits for a command, in milliseconds. */
  get timeout(): number {
    return this.#timeout
  }

  get(key: string): Promise<string | null> {
    return this.#bounded(() => this.#redis.get(key))
  }

  hmget(key: string, fields: readonly string[]): Promise<(string | null)[]> {
    return this.#bounded(() => this.#redis.hmget(key, ...fields))
  }

  run(script: SessionScript, keys: readonly string[], args: readonly (string | number)[]): Promise<unknown> {
    const all = [...keys, ...args.map(String)]
    return this.#bounded(async () => {
      try {
        return await this.#redis.evalsha(script.sha, keys.length, ...all)
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith('NOSCRIPT')) throw error
        return await this.#redis.eval(script.lua, keys.length, ...all)
      }
    })
  }

  #bounded<T>(command: () => Promise<T>): Promise<T> {
    if (this.#failures >= failuresToOpen) {
      const now = this.#clock.monotonic()
      if (now < this.#probeAt) return Promise.reject(unavailable('Redis has failed several times in a row.'))
      this.#probeAt = now + probeInterval
    }
    return new Promise<T>((resolve, reject) => {
      let settled = false
      const settle = (away: boolean): boolean => {
        if (settled) return false
        settled = true
        clearTimeout(timer)
        this.#note(away)
        return true
      }
      const giveUp = (): void => {
        if (settle(true)) reject(unavailable(`Redis did not answer within ${this.#timeout} ms.`))
      }
      // In a process that is late itself, the answer may have come and not been read: that is looked at first.
      const timer = setTimeout(() => setImmediate(giveUp), this.#timeout)
      const { status } = this.#redis
      const answer =
        status === undefined || status === 'ready'
          ? command()
          : this.#connected().then(() => (settled ? Promise.reject(new Error('too late')) : command()))
      answer
        .then((value) => settle(false) && resolve(value))
        .catch((error: unknown) => {
          if (!settle(isAway(error))) return
          reject(unavailable(error instanceof Error ? error.message : 'Redis failed.'))
        })
    })
  }

  /** Resolves when the client is connected. What waited too long until then is never sent. */
  #connected(): Promise<void> {
    const redis = this.#redis
    if (redis.status === 'wait') redis.connect?.().catch(() => undefined)
    return (this.#ready ??= new Promise<void>((resolve) => {
      if (redis.once === undefined) resolve()
      redis.once?.('ready', resolve)
    }).finally(() => {
      this.#ready = undefined
    }))
  }

  #note(away: boolean): void {
    this.#failures = away ? this.#failures + 1 : 0
    if (away) this.#probeAt = this.#clock.monotonic() + probeInterval
  }
}

/** Whether a failure says that Redis cannot be reached or cannot serve at all; a client may have wrapped it. */
function isAway(error: unknown): boolean {
  const chain = [error, (error as Error | undefined)?.cause]
  const reply = chain.find((each) => each instanceof Error && each.name === 'ReplyError') as Error | undefined
  return reply === undefined || awayReply.test(reply.message)
}

/** Whether a client sends commands again after a lost connection: by then their callers were told that they failed. */
export function sendsAgain({ options }: SessionRedis): boolean {
  return options !== undefined && !('redisOptions' in options) && options.maxRetriesPerRequest !== 0
}

/** Carries the message alone: what a client hangs on its errors holds the arguments of the command. */
function unavailable(reason: string): AuthError {
  return new AuthError('ERR_AUTH_UNAVAILABLE', { cause: new Refusal(reason) })
}
