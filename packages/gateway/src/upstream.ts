import type { Clock } from '@quintet/core/kit'
import { Pool } from 'undici'
import type { ResolvedEjection, Timeouts } from './options.ts'
import type { ResolvedUpstream } from './route-options.ts'

/** One server behind a route: its connections, its load and its record. */
export interface Upstream {
  readonly id: string
  /** The name for the TLS handshake; null without TLS. */
  readonly serverName: string | null
  /** Changed by `setWeight`. */
  weight: number
  readonly pool: Pool
  /** Requests and WebSockets in progress. */
  active: number
  readonly ejected: boolean
  succeeded(): void
  /** `mayEject` is asked only when the record is bad enough. */
  failed(mayEject: () => boolean): void
}

export function createUpstream(
  options: ResolvedUpstream,
  timeouts: Pick<Timeouts, 'connect'>,
  maxHeaderSize: number,
  ejection: ResolvedEjection | undefined,
  clock: Clock,
): Upstream {
  const pool = new Pool(options.url, {
    connections: null,
    pipelining: 1,
    connectTimeout: timeouts.connect,
    maxHeaderSize: Math.max(maxHeaderSize, 16_384),
    allowH2: false,
  })
  let failures = 0
  let ejections = 0
  let ejectedUntil = Number.NEGATIVE_INFINITY
  return {
    id: options.url,
    serverName: options.url.startsWith('https:') ? new URL(options.url).hostname : null,
    weight: options.weight,
    pool,
    active: 0,
    get ejected() {
      return clock.monotonic() < ejectedUntil
    },
    succeeded() {
      failures = 0
      ejections = 0
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
