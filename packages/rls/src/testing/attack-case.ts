/**
 * `move-tenant` and `move-user`: an UPDATE that hands rows to another tenant, or to another user. `truncate`: what policies
 * do not apply to.
 */
export type AttackOperation =
  | 'select'
  | 'insert'
  | 'update'
  | 'delete'
  | 'upsert'
  | 'move-tenant'
  | 'move-user'
  | 'truncate'

/**
 * - `none`: no context. `malformed`: a tenant id that is none.
 * - `own`: the user whose row it is. `roleless`: the same one, without a role.
 * - `colleague`: another user of the same tenant. `namesake`: a user of another tenant with the same id.
 * - `other`: another user of another tenant. `forged`: the same one, after setting `app.is_system` and trying the system's role.
 * - `system`: the system login.
 */
export type AttackActor =
  | 'none'
  | 'own'
  | 'roleless'
  | 'colleague'
  | 'namesake'
  | 'other'
  | 'malformed'
  | 'forged'
  | 'system'

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
