import type { Clock } from '@quintet/core/kit'
import { createConnectionPool, type ConnectionPool } from '../http-client/connection-pool.ts'
import type { ResolvedEjection } from '../options/ejection-options.ts'
import type { Timeouts } from '../options/gateway-options.ts'
import type { ResolvedUpstream } from '../options/route-options.ts'

/** Requests and WebSockets are counted apart: one kind is no measure of the other. */
export type LoadKind = 'requests' | 'websockets'

/** One server behind a route: its connections, its load and its record. */
export interface Upstream {
  readonly id: string
  /** Changed by `setWeight`. */
  weight: number
  readonly pool: ConnectionPool
  /** What is in progress, by kind. */
  readonly load: Record<LoadKind, number>
  readonly ejected: boolean
  /** What its readiness probe found last; true before the first one. */
  readonly ready: boolean
  /** When it last answered, in milliseconds of the monotonic clock. */
  readonly answeredAt: number
  /** A `success` ends its row of failures. */
  answered(how: 'success' | 'neither'): void
  /**
   * A passed probe after a failed one also ends an ejection: the upstream was away, and is back. One that passes all the
   * time says nothing about the requests that fail. True when this changed what was known.
   */
  probed(ready: boolean): boolean
  /** `mayEject` is asked only when the record is bad enough. */
  failed(mayEject: () => boolean): void
}

export function createUpstream(
  options: ResolvedUpstream,
  timeouts: Pick<Timeouts, 'connect' | 'upstreamKeepAlive'>,
  maxResponseHeaderSize: number,
  ejection: ResolvedEjection | undefined,
  clock: Clock,
): Upstream {
  const pool = createConnectionPool(options.url, {
    connectTimeout: timeouts.connect,
    keepAlive: timeouts.upstreamKeepAlive,
    maxHeadSize: maxResponseHeaderSize,
  })
  let failures = 0
  let ejections = 0
  let ejectedUntil = Number.NEGATIVE_INFINITY
  let answeredAt = Number.NEGATIVE_INFINITY
  let ready = true
  return {
    id: options.url,
    weight: options.weight,
    pool,
    load: { requests: 0, websockets: 0 },
    get ejected() {
      return clock.monotonic() < ejectedUntil
    },
    get ready() {
      return ready
    },
    get answeredAt() {
      return answeredAt
    },
    answered(how) {
      answeredAt = performance.now()
      if (how === 'neither') return
      failures = 0
      ejections = 0
    },
    probed(passed) {
      const changed = ready !== passed
      ready = passed
      if (passed && changed) {
        failures = ejections = 0
        ejectedUntil = Number.NEGATIVE_INFINITY
      }
      return changed
    },
    failed(mayEject) {
      failures += 1
      if (!ejection || failures < ejection.failures || clock.monotonic() < ejectedUntil || !mayEject()) return
      // One more failure after its return ejects it again.
      failures = ejection.failures - 1
      ejections += 1
      ejectedUntil = clock.monotonic() + Math.min(ejection.duration * ejections, ejection.maxDuration)
    },
  }
}
