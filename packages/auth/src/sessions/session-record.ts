import type { SessionRef } from './session-keys.ts'

/** What a user's list of sessions shows of the device; 256 characters of each are kept. */
export interface Device {
  readonly name?: string
  readonly userAgent?: string
  readonly address?: string
}

/** Why a session was ended, for the audit log. */
export type RevocationReason =
  | 'signed-out'
  | 'signed-out-everywhere'
  | 'reused'
  | 'too-many-sessions'
  | 'user-gone'
  | 'administrator'

/** A session as it is kept. Times are milliseconds since the epoch. */
export interface SessionRecord extends SessionRef {
  readonly state: 'active' | 'revoked'
  /** Set when the state is `revoked`. */
  readonly reason: string | null
  /** Counts the refreshes from 1. */
  readonly generation: number
  /** The id of the refresh token that is current, and the SHA-256 of its secret. */
  readonly refreshId: string
  readonly refreshHash: string
  /** Those of the one before; null before the first refresh. */
  readonly previousId: string | null
  readonly previousHash: string | null
  /** Whether the previous refresh token may come back within the grace window. */
  readonly graceAllowed: boolean
  readonly rotatedAt: number
  readonly createdAt: number
  /** When the user last proved who they are. */
  readonly authenticatedAt: number
  /** When it ends if it is not refreshed; never after {@link absoluteExpiresAt}. */
  readonly expiresAt: number
  readonly absoluteExpiresAt: number
  /** The user's epoch when the session was made. */
  readonly epoch: number
  readonly aal: number
  readonly amr: readonly string[]
  readonly roles: readonly string[]
  readonly permissions: readonly string[]
  readonly device: Device
  /** The thumbprint of the client's key, when the session is bound to one (RFC 9449). */
  readonly jkt: string | null
}

/** A session as its user may see it. */
export interface Session extends SessionRef {
  readonly createdAt: number
  readonly authenticatedAt: number
  readonly expiresAt: number
  readonly absoluteExpiresAt: number
  readonly aal: number
  readonly amr: readonly string[]
  readonly device: Device
  /** Roughly when it was last used; null when that is not known. */
  readonly lastSeenAt: number | null
}

export function toSession(record: SessionRecord, lastSeenAt: number | null = null): Session {
  return {
    sessionId: record.sessionId,
    userId: record.userId,
    tenantId: record.tenantId,
    createdAt: record.createdAt,
    authenticatedAt: record.authenticatedAt,
    expiresAt: record.expiresAt,
    absoluteExpiresAt: record.absoluteExpiresAt,
    aal: record.aal,
    amr: record.amr,
    device: record.device,
    lastSeenAt,
  }
}

/** The fields of the Redis hash for a record: short names, since there is one hash per session. */
export function toFields(record: SessionRecord): string[] {
  const fields = {
    st: record.state === 'active' ? 'a' : 'r',
    gen: String(record.generation),
    rt: record.refreshId,
    rh: record.refreshHash,
    prt: record.previousId ?? '',
    prh: record.previousHash ?? '',
    sh: record.graceAllowed ? '1' : '0',
    rat: String(record.rotatedAt),
    cat: String(record.createdAt),
    aut: String(record.authenticatedAt),
    exp: String(record.expiresAt),
    abs: String(record.absoluteExpiresAt),
    ver: String(record.epoch),
    aal: String(record.aal),
    amr: JSON.stringify(record.amr),
    rol: JSON.stringify(record.roles),
    prm: JSON.stringify(record.permissions),
    dev: JSON.stringify(record.device),
    jkt: record.jkt ?? '',
  }
  return Object.entries(fields).flat()
}

/** The record of a Redis hash; undefined when it is a tombstone, a placeholder or not whole. */
export function fromFields(ref: SessionRef, flat: readonly unknown[]): SessionRecord | undefined {
  const fields = new Map<string, string>()
  for (let index = 0; index + 1 < flat.length; index += 2)
    fields.set(String(flat[index]), String(flat[index + 1]))
  const text = (name: string): string => fields.get(name) ?? ''
  const number = (name: string): number => Number(fields.get(name) ?? Number.NaN)
  if (text('st') !== 'a' || !Number.isFinite(number('gen'))) return undefined
  return {
    ...ref,
    state: 'active',
    reason: null,
    generation: number('gen'),
    refreshId: text('rt'),
    refreshHash: text('rh'),
    previousId: text('prt') || null,
    previousHash: text('prh') || null,
    graceAllowed: text('sh') === '1',
    rotatedAt: number('rat'),
    createdAt: number('cat'),
    authenticatedAt: number('aut'),
    expiresAt: number('exp'),
    absoluteExpiresAt: number('abs'),
    epoch: number('ver'),
    aal: number('aal'),
    amr: JSON.parse(text('amr')) as string[],
    roles: JSON.parse(text('rol')) as string[],
    permissions: JSON.parse(text('prm')) as string[],
    device: JSON.parse(text('dev')) as Device,
    jkt: text('jkt') || null,
  }
}
