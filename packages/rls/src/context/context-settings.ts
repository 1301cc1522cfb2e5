import { invalid, type RlsScope } from './rls-context.ts'
import { settingsOf, type ContextSettings } from './settings.ts'

/** What an id looks like in the database. */
export const idTypes = ['uuid', 'bigint', 'text'] as const
export type IdType = (typeof idTypes)[number]

/** Sets role and context for the transaction it runs in, and for nothing after it. */
export const contextStatement: string =
  "select pg_catalog.set_config('role',$1,true),pg_catalog.set_config('app.user_id',$2,true)," +
  "pg_catalog.set_config('app.tenant_id',$3,true),pg_catalog.set_config('app.is_system',$4,true)," +
  "pg_catalog.set_config('app.roles',$5,true)"

/** {@link contextStatement} for a connection that worked for another user: releases the locks of its session too. */
export const sealingContextStatement: string = `${contextStatement},pg_catalog.pg_advisory_unlock_all()`

/**
 * What else removes the state of a session: cursors WITH HOLD, settings, the value that `lastval()` returns, channels
 * and temporary tables.
 */
export const sealStatements = [
  'close all',
  'reset all',
  'discard sequences',
  'unlisten *',
  'discard temp',
] as const

const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i
const wholeNumber = /^-?\d{1,19}$/

const isId: Readonly<Record<IdType, (value: string) => boolean>> = {
  uuid: (value) => uuid.test(value),
  // 64 bits with their sign, as int8 has.
  bigint: (value) => wholeNumber.test(value) && BigInt.asIntN(64, BigInt(value)) === BigInt(value),
  // Each id of a context is a text.
  text: () => true,
}

/** One spelling for each id: PostgreSQL reads a UUID in upper case and a number with zeros before it alike. */
export function canonicalId(value: string, type: IdType): string {
  if (!isId[type](value) || type === 'text') return value
  return type === 'uuid' ? value.toLowerCase() : BigInt(value).toString()
}

export interface SettingsOptions {
  /** The role to take; null to stay the login. */
  readonly role: string | null
  readonly tenantIdType: IdType
  readonly userIdType: IdType
}

/** Turns the context of a scope into settings, once per scope. */
export interface SettingsReader {
  /** @throws RlsError `ERR_RLS_INVALID_CONTEXT` when an id is not of its type. */
  read(scope: RlsScope | undefined): ContextSettings
}

export function createSettingsReader(options: SettingsOptions): SettingsReader {
  const role = options.role ?? 'none'
  // Without a context every setting is cleared and the login keeps its own rights, which are none.
  const nothing = settingsOf('none', '', '', '', '')
  const reader: SettingsReader = {
    read(scope) {
      if (scope === undefined) return nothing
      if (scope.settings?.reader === reader) return scope.settings.read
      const { context } = scope
      const read = settingsOf(
        role,
        checkedId(context.userId, options.userIdType, 'userId'),
        checkedId(context.tenantId, options.tenantIdType, 'tenantId'),
        context.isSystem ? 'true' : 'false',
        context.roles.join(','),
      )
      scope.settings = { reader, read }
      return read
    },
  }
  return reader
}

function checkedId(value: string | null, type: IdType, member: string): string {
  if (value === null) return ''
  if (isId[type](value)) return value
  throw invalid(member, `is not of type ${type}`)
}
