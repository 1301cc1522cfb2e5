export type AttackOperation = 'select' | 'insert' | 'update' | 'delete' | 'upsert'

/**
 * - `none`: no context. `malformed`: a tenant id that is none.
 * - `own`: the user whose row it is. `other`: a user of another tenant.
 * - `forged`: a user of another tenant, after it has set `app.is_system` and tried the system's role.
 * - `system`: the system login.
 */
export type AttackActor = 'none' | 'own' | 'other' | 'malformed' | 'forged' | 'system'

/**
 * - `done`: rows came back or were changed. `no rows`: allowed, but there was nothing to see.
 * - `refused`: 42501. `invalid`: refused before the database. `error`: anything else.
 */
export type AttackOutcome = 'done' | 'no rows' | 'refused' | 'invalid' | 'error'

export interface AttackCase {
  readonly table: string
  readonly operation: AttackOperation
  readonly actor: AttackActor
  readonly expected: AttackOutcome
  readonly actual: AttackOutcome
  /** What PostgreSQL or the pool answered, when it was an error. */
  readonly reason: string | undefined
}
