import type { KeyObject } from 'node:crypto'
import { hmac } from '../secrets.ts'
import { escapeId } from './session-keys.ts'

/**
 * The `cnf.fp` of an access token: an HMAC over tenant, session and refresh id. It binds the token to one
 * generation of its session; it does not prove that the caller holds a key.
 */
export function fingerprint(key: KeyObject, tenantId: string, sessionId: string, refreshId: string): string {
  return hmac(key, `${escapeId(tenantId)}|${sessionId}|${refreshId}`).toString('base64url')
}
