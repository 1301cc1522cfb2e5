import { chooseByKey } from './rendezvous.ts'
import type { LoadKind, Upstream } from './upstream.ts'

/** The upstreams of one route, and the choice among them. */
export interface UpstreamGroup {
  readonly upstreams: readonly Upstream[]
  /** How much of a kind is in progress over all of them. */
  load(kind: LoadKind): number
  /** Chooses by the key, if there is one, else by load; undefined where there is none to choose. */
  choose(key: string | undefined, attempts: Attempts, kind: LoadKind): Upstream | undefined
  failed(upstream: Upstream): void
}

/** Which upstreams a request has been sent to before. */
export interface Attempts {
  /** Not asked again while another healthy one can be had. */
  readonly tried: readonly Upstream[]
  /** Those that could not be reached: never asked again. */
  readonly unreachable: readonly Upstream[]
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

  function usable({ tried, unreachable }: Attempts): readonly Upstream[] {
    const only = upstreams[0]
    if (upstreams.length === 1 && only) return only.weight > 0 ? upstreams : []
    const inUse = upstreams.filter((upstream) => upstream.weight > 0 && !unreachable.includes(upstream))
    const healthy = inUse.filter((upstream) => upstream.ready && !upstream.ejected)
    const pool = healthy.length > 0 ? healthy : inUse
    const fresh = pool.filter((upstream) => !tried.includes(upstream))
    return fresh.length > 0 ? fresh : pool
  }

  function leastBusy(candidates: readonly Upstream[], kind: LoadKind): Upstream | undefined {
    turn = (turn + 1) % candidates.length
    let best = candidates[turn]
    for (let step = 1; step < candidates.length; step++) {
      const candidate = candidates[(turn + step) % candidates.length]
      if (candidate && best && candidate.load[kind] < best.load[kind]) best = candidate
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
    load(kind) {
      let sum = 0
      for (const upstream of upstreams) sum += upstream.load[kind]
      return sum
    },
    choose(key, attempts, kind) {
      const candidates = usable(attempts)
      if (candidates.length <= 1) return candidates[0]
      if (key !== undefined) return chooseByKey(candidates, key)
      const alike = candidates.every((candidate) => candidate.weight === candidates[0]?.weight)
      return alike ? leastBusy(candidates, kind) : inTurn(candidates)
    },
    failed(upstream) {
      upstream.failed(() => {
        const ejected = upstreams.filter((other) => other.ejected).length
        return ejected + 1 <= Math.floor((upstreams.length * maxEjectedPercent) / 100)
      })
    },
  }
}
