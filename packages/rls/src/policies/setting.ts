import type { IdType } from '../context/context-settings.ts'
import { quoteText } from '../sql/sql-text.ts'

/**
 * A setting of the context as an SQL expression that the planner evaluates once per statement, null
 * where it is not set.
 *
 * The setting is cast, never the column, so that an index on the column is used.
 */
export function contextSetting(name: 'tenant_id' | 'user_id', type: IdType = 'uuid'): string {
  const value = `nullif(current_setting('app.${name}', true), '')`
  return `(select ${type === 'text' ? value : `${value}::${type}`})`
}

/** The tenant of the context, e.g. as the default of a column (which allows no subselect). */
export function currentTenantDefault(type: IdType = 'uuid'): string {
  const value = "nullif(current_setting('app.tenant_id', true), '')"
  return type === 'text' ? value : `(${value})::${type}`
}

/** True when the context has at least one of the roles. */
export function hasAnyRole(roles: readonly string[]): string {
  const list = roles.map(quoteText).join(', ')
  return `(select string_to_array(current_setting('app.roles', true), ',') && array[${list}])`
}
