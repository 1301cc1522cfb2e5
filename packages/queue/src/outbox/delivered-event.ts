import { systemPrincipal, type Principal } from '@quintet/core'
import type { EventRow } from './claim-events.ts'
import type { DeliveredEvent } from './relay-options.ts'

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
