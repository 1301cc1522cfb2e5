import { chooseByKey } from './rendezvous.ts'
import type { Upstream } from './upstream.ts'

/** The upstreams of one route, and the choice among them. */
export interface UpstreamGroup {
  readonly upstreams: readonly Upstream[]
  /** Requests in progress over all of them. */
  readonly active: number
  /** Chooses for a request, by its key if it has one, never among `tried` while another can be had. */
  choose(key: string | undefined, tried: readonly Upstream[]): Upstream | undefined
  succeeded(upstream: Upstream): void
  failed(upstream: Upstream): void
}

/**
 * With a key: by consistent hashing. Without: the least busy one where all weights are alike, else in turn
 * by weight.
 */
export function createUpstreamGroup(
  upstreams: readonly Upstream[],
  maxEjectedPercent: number,
): UpstreamGroup {
  const credit = new Map<Upstream, number>(upstreams.map((upstream) => [upstream, 0]))
  let turn = 0

  function usable(tried: readonly Upstream[]): readonly Upstream[] {
    const only = upstreams[0]
    if (upstreams.length === 1 && only) return only.weight > 0 ? upstreams : []
    const inUse = upstreams.filter((upstream) => upstream.weight > 0)
    const healthy = inUse.filter((upstream) => !upstream.ejected)
    const pool = healthy.length > 0 ? healthy : inUse
    const fresh = pool.filter((upstream) => !tried.includes(upstream))
    return fresh.length > 0 ? fresh : pool
  }

  function leastBusy(candidates: readonly Upstream[]): Upstream | undefined {
    turn = (turn + 1) % candidates.length
    let best = candidates[turn]
    for (let step = 1; step < candidates.length; step++) {
      const candidate = candidates[(turn + step) % candidates.length]
      if (candidate && best && candidate.active < best.active) best = candidate
    }
    return best
  }

  /** Smooth weighted round robin: every share is met over any short run, without bursts to one. */
  function inTurn(candidates: readonly Upstream[]): Upstream | undefined {
    let best: Upstream | undefined
    let total = 0
    for (const candidate of candidates) {
      total += candidate.weight
      const value = (credit.get(candidate) ?? 0) + candidate.weight
      credit.set(candidate, value)
      if (!best || value > (credit.get(best) ?? 0)) best = candidate
    }
    if (best) credit.set(best, (credit.get(best) ?? 0) - total)
    return best
  }

  return {
    upstreams,
    get active() {
      return upstreams.reduce((sum, upstream) => sum + upstream.active, 0)
    },
    choose(key, tried) {
      const candidates = usable(tried)
      if (candidates.length <= 1) return candidates[0]
      if (key !== undefined) return chooseByKey(candidates, key)
      const alike = candidates.every((candidate) => candidate.weight === candidates[0]?.weight)
      return alike ? leastBusy(candidates) : inTurn(candidates)
    },
    succeeded: (upstream) => upstream.succeeded(),
    failed(upstream) {
      upstream.failed(() => {
        const ejected = upstreams.filter((other) => other.ejected).length
        return ejected + 1 <= Math.floor((upstreams.length * maxEjectedPercent) / 100)
      })
    },
  }
}
