/** How many jobs each tenant runs at once in this process. */
export interface TenantSlots {
  /** False when the tenant has as many as it may. */
  take(tenantId: string | null): boolean
  release(tenantId: string | null): void
  /** In how many milliseconds a further job of the tenant has its turn, after those that were put off before it. */
  pause(tenantId: string | null): number
}

interface Tenant {
  running: number
  /** When each running job began, oldest first. */
  readonly begun: number[]
  /** The moving average of how long one job takes, in milliseconds. */
  duration: number
  /** When the next job that is put off has its turn. */
  turn: number
}

const shortestPause = 50
/**
 * However many jobs of a tenant wait, each is looked at once in this time: what one that waits costs is bounded, and so
 * is what a wrong guess of the duration costs.
 */
const longestPause = 30_000
const firstGuess = 200

/**
 * Each job that is put off gets the next turn of its tenant, as far ahead as those before it are likely to take. So it is
 * taken about twice in all and not again and again, the order of the tenant is kept, and the others find the queue empty.
 */
export function createTenantSlots(most: number, now: () => number = () => performance.now()): TenantSlots {
  const tenants = new Map<string | null, Tenant>()
  const ofTenant = (tenantId: string | null): Tenant => {
    const known = tenants.get(tenantId)
    if (known !== undefined) return known
    const made: Tenant = { running: 0, begun: [], duration: firstGuess, turn: 0 }
    tenants.set(tenantId, made)
    return made
  }
  return {
    take(tenantId) {
      const tenant = ofTenant(tenantId)
      if (tenant.running >= most) return false
      tenant.running++
      tenant.begun.push(now())
      return true
    },
    release(tenantId) {
      const tenant = ofTenant(tenantId)
      tenant.running--
      const took = now() - (tenant.begun.shift() ?? now())
      tenant.duration = tenant.duration * 0.75 + took * 0.25
      // Nothing runs and nothing waits for its turn: the tenant is forgotten.
      if (tenant.running === 0 && tenant.turn <= now()) tenants.delete(tenantId)
    },
    pause(tenantId) {
      const tenant = ofTenant(tenantId)
      const at = now()
      const step = Math.max(1, tenant.duration / most)
      tenant.turn = Math.min(Math.max(tenant.turn, at) + step, at + longestPause)
      return Math.max(shortestPause, Math.ceil(tenant.turn - at))
    },
  }
}
