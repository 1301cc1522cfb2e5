import { RlsError } from '../errors.ts'

/** Gives a place back. */
export type Leave = () => void

/** Bounds how many connections each tenant has at once; whoever is above it waits in line. */
export interface TenantShares {
  /**
   * Calls back in any async context, with the function that gives the place back, or with an error. Whoever waits
   * leaves the line when the signal aborts.
   */
  enter(
    tenant: string,
    signal: AbortSignal | undefined,
    callback: (error: Error | undefined, leave?: Leave) => void,
  ): void
}

interface Line {
  taken: number
  readonly waiting: (() => void)[]
}

/**
 * @param share the most connections of one tenant.
 * @param waitFor milliseconds that a tenant waits for a place; 0 for as long as it takes.
 */
export function createTenantShares(share: number, waitFor: number): TenantShares {
  const lines = new Map<string, Line>()

  const leave = (tenant: string, line: Line): void => {
    const next = line.waiting.shift()
    if (next) return next()
    line.taken--
    if (line.taken === 0) lines.delete(tenant)
  }
  /** A place that can be given back once. */
  const place = (tenant: string, line: Line): Leave => {
    let given = false
    return () => {
      if (given) return
      given = true
      leave(tenant, line)
    }
  }

  return {
    enter(tenant, signal, callback) {
      let line = lines.get(tenant)
      if (line === undefined) lines.set(tenant, (line = { taken: 0, waiting: [] }))
      const { waiting } = line
      if (line.taken < share) {
        line.taken++
        return callback(undefined, place(tenant, line))
      }
      const stopWaiting = (): void => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', onAbort)
      }
      const start = (): void => {
        stopWaiting()
        callback(undefined, place(tenant, line))
      }
      const giveUp = (reason: Error): void => {
        stopWaiting()
        waiting.splice(waiting.indexOf(start), 1)
        callback(reason)
      }
      const onAbort = (): void => giveUp(signal?.reason as Error)
      waiting.push(start)
      signal?.addEventListener('abort', onAbort, { once: true })
      const timer = waitFor === 0 ? undefined : setTimeout(() => giveUp(tenantBusy(share)), waitFor)
    },
  }
}

function tenantBusy(share: number): RlsError {
  return new RlsError('There are too many requests at once for this tenant. Try again.', {
    code: 'ERR_RLS_TENANT_BUSY',
    kind: 'rate-limited',
    retryAfter: 1_000,
    cause: new Error(`All ${share} connections of the tenant stayed in use.`),
  })
}
