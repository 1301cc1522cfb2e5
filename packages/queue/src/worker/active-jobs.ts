import { QueueError } from '../errors.ts'

/** One run of a job. */
export interface ActiveJob {
  readonly id: string
  /** Aborts when the lock of the job is lost, and when the worker must stop. */
  readonly signal: AbortSignal
  /** Follows the handler, which may go on after its call was given up. */
  follow<Result>(handler: Promise<Result>): Promise<Result>
  /** Resolves when the handler has ended, or when the worker must stop. */
  handlerEnded(): Promise<void>
  end(): void
}

/** The jobs that a worker runs, and how long their locks last. */
export interface ActiveJobs {
  readonly size: number
  /** Handlers that go on after their call was given up. */
  readonly overdue: number
  /** Undefined while an earlier run of the same job goes on in this process. */
  start(id: string): ActiveJob | undefined
  renewed(ids: readonly string[]): void
  lost(ids: readonly string[]): void
  /** Resolves when no job is active. */
  idle(): Promise<void>
  close(): void
}

interface Entry {
  readonly controller: AbortController
  renewedAt: number
}

/** @param ending aborts when the worker must stop. */
export function createActiveJobs(lockDuration: number, ending: AbortSignal): ActiveJobs {
  const entries = new Map<string, Entry>()
  const handlers = new Map<string, Promise<unknown>>()
  let overdue = 0
  let onIdle: (() => void) | undefined

  const lose = (id: string): void => {
    const message = `The lock of the job ${id} was lost: another worker may run it.`
    entries.get(id)?.controller.abort(new QueueError('ERR_QUEUE_LOCK_LOST', message))
  }
  const stopAll = (): void => {
    for (const { controller } of entries.values()) controller.abort(ending.reason)
  }
  ending.addEventListener('abort', stopAll, { once: true })
  // Redis may be away, or this process may have stood still: then nothing says that a lock has run out.
  const watch = setInterval(() => {
    const now = performance.now()
    for (const [id, { renewedAt }] of entries) if (now - renewedAt >= lockDuration) lose(id)
  }, lockDuration / 4)
  watch.unref()

  return {
    get size() {
      return entries.size
    },
    get overdue() {
      return overdue
    },
    start(id) {
      if (entries.has(id) || handlers.has(id)) return undefined
      const controller = new AbortController()
      if (ending.aborted) controller.abort(ending.reason)
      entries.set(id, { controller, renewedAt: performance.now() })
      return {
        id,
        signal: controller.signal,
        async follow(handler) {
          handlers.set(id, handler)
          try {
            return await handler
          } finally {
            handlers.delete(id)
          }
        },
        async handlerEnded() {
          const handler = handlers.get(id)
          if (handler === undefined || ending.aborted) return
          const { promise: stopped, resolve: stop } = Promise.withResolvers<void>()
          ending.addEventListener('abort', () => stop(), { once: true })
          overdue++
          await Promise.race([handler.catch(() => undefined), stopped])
          overdue--
        },
        end() {
          entries.delete(id)
          if (entries.size === 0) onIdle?.()
        },
      }
    },
    renewed(ids) {
      for (const id of ids) {
        const entry = entries.get(id)
        if (entry !== undefined) entry.renewedAt = performance.now()
      }
    },
    lost: (ids) => ids.forEach(lose),
    idle() {
      if (entries.size === 0) return Promise.resolve()
      return new Promise((resolve) => {
        onIdle = resolve
      })
    },
    close() {
      clearInterval(watch)
      ending.removeEventListener('abort', stopAll)
    },
  }
}
