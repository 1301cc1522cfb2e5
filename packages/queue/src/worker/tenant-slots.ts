/** How many jobs each tenant runs at once in this process. */
export interface TenantSlots {
  /** False when the tenant has as many as it may. */
  take(tenantId: string | null): boolean
  release(tenantId: string | null): void
}

export function createTenantSlots(most: number): TenantSlots {
  const taken = new Map<string | null, number>()
  return {
    take(tenantId) {
      const running = taken.get(tenantId) ?? 0
      if (running >= most) return false
      taken.set(tenantId, running + 1)
      return true
    },
    release(tenantId) {
      const left = (taken.get(tenantId) ?? 1) - 1
      if (left === 0) taken.delete(tenantId)
      else taken.set(tenantId, left)
    },
  }
}
