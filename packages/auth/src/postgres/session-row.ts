import type { SessionRecord, Device } from '../sessions/session-record.ts'

/** A row of the sessions table as pg gives it: `bigint` comes as text. */
export interface SessionRow {
  readonly id: string
  readonly tenant_id: string
  readonly user_id: string
  readonly generation: number
  readonly refresh_id: string
  readonly refresh_hash: string
  readonly previous_id: string | null
  readonly previous_hash: string | null
  readonly grace_allowed: boolean
  readonly rotated_at: string
  readonly created_at: string
  readonly authenticated_at: string
  readonly expires_at: string
  readonly absolute_expires_at: string
  readonly epoch: number
  readonly aal: number
  readonly amr: string[]
  readonly roles: string[]
  readonly permissions: string[]
  readonly device: Device
  readonly jkt: string | null
  readonly revoked_at: string | null
  readonly revoked_reason: string | null
  /** Joined from the epochs table; 0 where the user has none. */
  readonly user_epoch?: number | null
}

export function toRecord(row: SessionRow): SessionRecord {
  const outdated = row.epoch < (row.user_epoch ?? 0)
  const revoked = row.revoked_at !== null || outdated
  return {
    sessionId: row.id,
    tenantId: row.tenant_id,
    userId: row.user_id,
    state: revoked ? 'revoked' : 'active',
    reason: revoked ? (row.revoked_reason ?? 'signed-out-everywhere') : null,
    generation: row.generation,
    refreshId: row.refresh_id,
    refreshHash: row.refresh_hash,
    previousId: row.previous_id,
    previousHash: row.previous_hash,
    graceAllowed: row.grace_allowed,
    rotatedAt: Number(row.rotated_at),
    createdAt: Number(row.created_at),
    authenticatedAt: Number(row.authenticated_at),
    expiresAt: Number(row.expires_at),
    absoluteExpiresAt: Number(row.absolute_expires_at),
    epoch: row.epoch,
    aal: row.aal,
    amr: row.amr,
    roles: row.roles,
    permissions: row.permissions,
    device: row.device,
    jkt: row.jkt,
  }
}
