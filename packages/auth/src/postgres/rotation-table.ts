import type { SessionRecord } from '../sessions/session-record.ts'
import type { Rotation, RotationResult, SessionChange } from '../sessions/session-store.ts'
import { now, type Connections } from './connections.ts'
import { toRecord, type SessionRow } from './session-row.ts'
import type { TableNames } from './tables.ts'

/** Refreshes in the table of sessions: compares the generation and swaps, in one statement. */
export class RotationTable {
  readonly #connections: Connections
  readonly #tables: TableNames

  constructor(connections: Connections, tables: TableNames) {
    this.#connections = connections
    this.#tables = tables
  }

  async rotate(rotation: Rotation): Promise<RotationResult> {
    const swapped = await this.#swap(rotation)
    return swapped === undefined ? await this.#classify(rotation) : { outcome: 'OK', record: swapped }
  }

  /** The record after the swap; undefined when the row is not as the token says. */
  async #swap(rotation: Rotation): Promise<SessionRecord | undefined> {
    const { sessions, epochs } = this.#tables
    const { change } = rotation
    const rows = await this.#connections.query<SessionRow>(
      `update ${sessions} s set
         generation = s.generation + 1, previous_id = s.refresh_id, previous_hash = s.refresh_hash,
         refresh_id = $8, refresh_hash = $9, grace_allowed = $10, rotated_at = ${now},
         expires_at = least(${now} + $11::bigint, s.absolute_expires_at),
         authenticated_at = case when $12 then ${now} else s.authenticated_at end,
         aal = coalesce($13, s.aal), amr = coalesce($14, s.amr),
         roles = coalesce($15, s.roles), permissions = coalesce($16, s.permissions)
       where s.id = $2 and s.tenant_id = $3 and s.user_id = $4 and s.generation = $5 and s.refresh_id = $6
         and s.refresh_hash = $7 and s.revoked_at is null and s.expires_at > ${now} and s.absolute_expires_at > ${now}
         and (s.jkt is null or s.jkt = $17)
         and s.epoch >= coalesce(
           (select e.epoch from ${epochs} e where e.tenant_id = s.tenant_id and e.user_id = s.user_id), 0)
       returning s.*`,
      [
        rotation.sessionId,
        rotation.tenantId,
        rotation.userId,
        rotation.generation,
        rotation.refreshId,
        rotation.refreshHash,
        rotation.nextRefreshId,
        rotation.nextRefreshHash,
        rotation.graceAllowed,
        rotation.idle,
        change.authenticatedNow === true,
        change.aal ?? null,
        change.amr ?? null,
        change.roles ?? null,
        change.permissions ?? null,
        rotation.jkt,
      ],
    )
    return rows[0] === undefined ? undefined : toRecord(rows[0])
  }

  /** Why the swap did not happen. The row only ever moves forward, so what is seen now explains it. */
  async #classify(rotation: Rotation): Promise<RotationResult> {
    const { sessions, epochs } = this.#tables
    const [row] = await this.#connections.query<SessionRow & { readonly now: string }>(
      `select s.*, e.epoch as user_epoch, ${now} as now from ${sessions} s
       left join ${epochs} e using (tenant_id, user_id)
       where s.id = $2 and s.tenant_id = $3 and s.user_id = $4`,
      [rotation.sessionId, rotation.tenantId, rotation.userId],
    )
    if (row === undefined) return { outcome: 'MISSING' }
    const record = toRecord(row)
    const at = Number(row.now)
    if (record.state === 'revoked') return { outcome: 'REVOKED' }
    if (at >= record.expiresAt || at >= record.absoluteExpiresAt) return { outcome: 'EXPIRED' }
    if (record.jkt !== null && record.jkt !== rotation.jkt) return { outcome: 'BAD' }
    if (rotation.generation === record.generation) return { outcome: 'BAD' }
    if (rotation.generation > record.generation) return { outcome: 'FUTURE' }
    const isPrevious =
      rotation.generation === record.generation - 1 &&
      record.previousId === rotation.refreshId &&
      record.previousHash === rotation.refreshHash
    const { firstSeen } = rotation
    // Until the successor is seen, the answer that carried it may have been lost. It was not seen before it was made.
    const inGrace =
      firstSeen?.refreshId !== record.refreshId ||
      Math.min(firstSeen.age, at - record.rotatedAt) <= rotation.grace
    if (!isPrevious || !inGrace) return { outcome: 'REUSED' }
    const isRefresh = rotation.change.authenticatedNow !== true
    if (isRefresh !== record.graceAllowed || (!isRefresh && !covers(record, rotation.change)))
      return { outcome: 'SUPERSEDED' }
    return await this.#repeated(rotation, record)
  }

  /** What a user may do now, or has proved again, holds for a repeated refresh or step-up too. */
  async #repeated(rotation: Rotation, record: SessionRecord): Promise<RotationResult> {
    const { change } = rotation
    if (Object.keys(change).length === 0) return { outcome: 'GRACE', record }
    const [row] = await this.#connections.query<SessionRow>(
      `update ${this.#tables.sessions} s set
         authenticated_at = case when $7 then ${now} else authenticated_at end,
         aal = coalesce($8, aal), amr = coalesce($9, amr),
         roles = coalesce($10, roles), permissions = coalesce($11, permissions)
       where id = $2 and tenant_id = $3 and user_id = $4 and generation = $5 and refresh_id = $6
         and revoked_at is null
       returning *`,
      [
        record.sessionId,
        record.tenantId,
        record.userId,
        record.generation,
        record.refreshId,
        change.authenticatedNow === true,
        change.aal ?? null,
        change.amr ?? null,
        change.roles ?? null,
        change.permissions ?? null,
      ],
    )
    // The session has moved on in between: that is what the token is held against.
    return row === undefined ? await this.#classify(rotation) : { outcome: 'GRACE', record: toRecord(row) }
  }
}

/** Whether the session has all of the assurance that is asked for. */
function covers(record: SessionRecord, { aal = 1, amr = [] }: SessionChange): boolean {
  return record.aal >= aal && amr.every((method) => record.amr.includes(method))
}
