import { randomUUID } from 'node:crypto'
import { systemPrincipal, type Principal } from '@quintet/core'
import type { DeliveredEvent } from './relay-options.ts'

/** How long a claim lasts without being renewed, in milliseconds: what a relay that died delays the keys that it held. */
export const claimDuration = 6_000
const renewEvery = claimDuration / 4

export interface EventRow {
  readonly id: string
  readonly position: string
  readonly topic: string
  readonly key: string
  readonly tenant_id: string | null
  readonly user_id: string | null
  readonly payload: unknown
  readonly traceparent: string | null
  readonly created_at: Date
  readonly attempts: number
}

export type Query = (text: string, values: unknown[]) => Promise<{ readonly rows: unknown[] }>

/** The events that one relay has claimed: it alone delivers those keys while the claim lasts. */
export interface Claims {
  /** Marks the rows of one relay. */
  readonly relayId: string
  readonly size: number
  /** The first events of keys that no relay holds, each key in order. */
  claim(most: number): Promise<readonly (readonly EventRow[])[]>
  /** False when the claim may have run out, so that another relay may have taken the key. */
  held(): boolean
  forget(ids: readonly string[]): void
  /** Gives up what is still claimed, so that another relay takes it at once. */
  release(): Promise<void>
  stopRenewing(): void
}

export function createClaims(query: Query, onTrouble: (error: unknown) => void): Claims {
  const relayId = randomUUID()
  const claimed = new Set<string>()
  let renewedAt = 0
  let renewing = false

  const renew = async (): Promise<void> => {
    if (claimed.size === 0 || renewing) return
    renewing = true
    const askedAt = performance.now()
    try {
      await query(
        `update outbox set claimed_until = clock_timestamp() + make_interval(secs => $3)
         where id = any($1::uuid[]) and claimed_by = $2`,
        [[...claimed], relayId, claimDuration / 1_000],
      )
      renewedAt = askedAt
    } catch (error) {
      onTrouble(error)
    } finally {
      renewing = false
    }
  }
  const timer = setInterval(() => void renew(), renewEvery)
  timer.unref()

  return {
    relayId,
    get size() {
      return claimed.size
    },
    async claim(most) {
      // The claims from before are older than the ones that this makes: what is held is as old as the oldest renewal.
      const askedAt = performance.now()
      const { rows } = await query('select * from outbox_claim($1, $2, $3)', [
        most,
        relayId,
        claimDuration / 1_000,
      ])
      if (claimed.size === 0) renewedAt = askedAt
      const found = (rows as EventRow[]).toSorted((a, b) => Number(BigInt(a.position) - BigInt(b.position)))
      for (const { id } of found) claimed.add(id)
      return [...Map.groupBy(found, ({ key }) => key).values()]
    },
    held: () => performance.now() - renewedAt < claimDuration - renewEvery,
    forget(ids) {
      for (const id of ids) claimed.delete(id)
    },
    async release() {
      if (claimed.size === 0) return
      await query(
        'update outbox set claimed_by = null, claimed_until = null where id = any($1::uuid[]) and claimed_by = $2',
        [[...claimed], relayId],
      )
      claimed.clear()
    },
    stopRenewing: () => clearInterval(timer),
  }
}

export function toEvent(row: EventRow): DeliveredEvent {
  return {
    id: row.id,
    topic: row.topic,
    key: row.key,
    payload: row.payload,
    principal: principalOf(row),
    traceparent: row.traceparent ?? undefined,
    createdAt: row.created_at.toISOString(),
  }
}

/** A row proves the tenant and the user, because the policy of the table does; roles it cannot prove. */
function principalOf({ tenant_id: tenantId, user_id: userId }: EventRow): Principal {
  if (userId === null || tenantId === null) return systemPrincipal('outbox', tenantId)
  return Object.freeze({
    kind: 'user',
    userId,
    tenantId,
    sessionId: null,
    expiresAt: null,
    roles: Object.freeze([]),
    permissions: Object.freeze([]),
    claims: Object.freeze({}),
  })
}
