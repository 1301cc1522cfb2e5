import { QuintetError } from '@quintet/core'

export interface TenantTurnsOptions {
  /** How many may work at once. */
  readonly total: number
  /** How many of one tenant. */
  readonly perTenant: number
  /** How many of one tenant may wait; further ones are refused. */
  readonly maxWaiting: number
}

/** Bounded concurrency with a bound for each tenant, so that one tenant's work holds up its own alone. */
export interface TenantTurns {
  /** @throws QuintetError `ERR_MEDIA_TOO_MANY_RENDERS` (rate-limited). */
  take<Result>(tenantId: string, signal: AbortSignal, work: () => Promise<Result>): Promise<Result>
}

interface Waiting {
  readonly tenantId: string
  readonly begin: () => void
}

export function createTenantTurns({ total, perTenant, maxWaiting }: TenantTurnsOptions): TenantTurns {
  const working = new Map<string, number>()
  let busy = 0
  let waiting: readonly Waiting[] = []

  const isFree = (tenantId: string): boolean => busy < total && (working.get(tenantId) ?? 0) < perTenant
  const count = (tenantId: string, by: 1 | -1): void => {
    busy += by
    const left = (working.get(tenantId) ?? 0) + by
    if (left === 0) working.delete(tenantId)
    else working.set(tenantId, left)
  }
  const next = (): void => {
    const found = waiting.find(({ tenantId }) => isFree(tenantId))
    if (found === undefined) return
    waiting = waiting.filter((each) => each !== found)
    count(found.tenantId, 1)
    found.begin()
  }

  async function turn(tenantId: string, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (isFree(tenantId)) return count(tenantId, 1)
    if (waiting.filter((each) => each.tenantId === tenantId).length >= maxWaiting) {
      throw new QuintetError('Too many images of this tenant are being made. Try again shortly.', {
        code: 'ERR_MEDIA_TOO_MANY_RENDERS',
        kind: 'rate-limited',
        retryAfter: 1_000,
      })
    }
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const mine: Waiting = { tenantId, begin: resolve }
    const leave = (): void => {
      waiting = waiting.filter((each) => each !== mine)
      reject(signal.reason)
    }
    waiting = [...waiting, mine]
    signal.addEventListener('abort', leave, { once: true })
    try {
      await promise
    } finally {
      signal.removeEventListener('abort', leave)
    }
  }

  return {
    async take(tenantId, signal, work) {
      await turn(tenantId, signal)
      try {
        return await work()
      } finally {
        count(tenantId, -1)
        next()
      }
    },
  }
}
