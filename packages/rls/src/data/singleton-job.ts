import { type Duration, isQuintetError, type Logger } from '@quintet/core'
import { delay, option, readOptions } from '@quintet/core/kit'
import { withAdvisoryLock, type LockPool } from './advisory-lock.ts'

export interface SingletonJobOptions {
  readonly pool: LockPool
  /** Names the job in the whole fleet. */
  readonly name: string
  /** Runs on one instance at a time, until it returns or the signal aborts; then an instance takes it up again. */
  readonly run: (signal: AbortSignal) => Promise<void>
  /** How long to wait before it asks for the lock, or runs the job, again. @defaultValue `'1s'` */
  readonly retryAfter?: Duration
  readonly logger?: Logger
}

export interface SingletonJob extends AsyncDisposable {
  /** Whether this instance is the one that runs it. */
  readonly leading: boolean
  /** Aborts the job's signal and resolves when it has ended. */
  close(): Promise<void>
}

export const singletonJobDefaults = Object.freeze({ retryAfter: '1s' } as const)

const spec = {
  pool: option.collaborator<LockPool>(['connect'], 'a pool of connections'),
  name: option.text(),
  run: option.function<SingletonJobOptions['run']>(),
  retryAfter: option.delay(singletonJobDefaults.retryAfter),
  logger: option.logger(),
}

/**
 * A background job of which one instance runs in the fleet, held by an advisory lock. When the instance
 * or its connection dies, another one takes over within the retry time.
 */
export function createSingletonJob(options: SingletonJobOptions): SingletonJob {
  const { pool, name, run, retryAfter, logger } = readOptions<SingletonJobOptions, typeof spec>(
    options,
    spec,
    'createSingletonJob',
  )
  const stop = new AbortController()
  let leading = false

  const lead = async (lost: AbortSignal): Promise<void> => {
    const signal = AbortSignal.any([lost, stop.signal])
    // Whoever waits for the signal alone would wait for ever.
    if (signal.aborted) return
    leading = true
    try {
      await run(signal)
    } finally {
      leading = false
    }
  }
  const campaign = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      try {
        await withAdvisoryLock(pool, `job ${name}`, lead, { timeout: 0, signal: stop.signal })
      } catch (error) {
        const elsewhere = isQuintetError(error) && error.code === 'ERR_RLS_LOCK_TIMEOUT'
        if (!elsewhere && !stop.signal.aborted) {
          logger.warn({ err: error, job: name }, 'a singleton job failed and is taken up again')
        }
      }
      await delay(retryAfter, stop.signal).catch(() => undefined)
    }
  }
  const ended = campaign()
  const close = (): Promise<void> => {
    stop.abort()
    return ended
  }
  return {
    get leading() {
      return leading
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}
