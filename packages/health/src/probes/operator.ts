import { createHash, timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import { refuseUnknownKeys } from '@quintet/core/kit'

/** Text that must not show up in logs; core's `Secret` fits. */
export interface SecretText {
  reveal(): string
}

/** Who may see details. Everybody else gets nothing but pass or fail. */
export interface OperatorOptions {
  /**
   * Accepts callers on this machine: a loopback peer that names a loopback host and was not sent on by a proxy.
   * @defaultValue true
   */
  readonly loopback?: boolean
  /** Accepts `Authorization: Bearer` with this token, at least 16 characters. Without one, no token is accepted. */
  readonly token?: string | SecretText
}

/** What applies where {@link OperatorOptions} says nothing. */
export const operatorDefaults = Object.freeze({ loopback: true })

/** What is known about a caller. */
export interface Caller {
  /** The address of the peer; undefined where the surface cannot tell. */
  readonly remoteAddress: string | undefined
  readonly headers: Pick<IncomingHttpHeaders, 'authorization' | 'host'> & { readonly [name: string]: unknown }
}

export type OperatorDecision = 'granted' | 'unauthenticated' | 'forbidden'

/** Any of these says that somebody passed the request on, so the peer is not the caller. */
const forwardingHeaders = [
  'forwarded',
  'via',
  'x-forwarded-for',
  'x-forwarded-host',
  'x-forwarded-proto',
  'x-real-ip',
]

/**
 * Makes the guard of everything that is for operators only.
 *
 * @throws TypeError for an unknown option or a token that is too short.
 */
export function createOperatorGuard(
  options: OperatorOptions = {},
  path = 'operators',
): (caller: Caller) => OperatorDecision {
  refuseUnknownKeys(options, ['loopback', 'token'], path)
  const loopback = options.loopback ?? operatorDefaults.loopback
  const token = typeof options.token === 'object' ? options.token.reveal() : options.token
  if (token !== undefined && (typeof token !== 'string' || token.length < 16)) {
    throw new TypeError(`${path}.token: needs at least 16 characters.`)
  }
  const expected = token === undefined ? undefined : digest(token)
  return (caller) => {
    const given = bearer(caller.headers.authorization)
    if (expected !== undefined && given !== undefined && timingSafeEqual(digest(given), expected))
      return 'granted'
    if (loopback && isLocal(caller)) return 'granted'
    return expected === undefined ? 'forbidden' : 'unauthenticated'
  }
}

function isLocal({ remoteAddress, headers }: Caller): boolean {
  if (remoteAddress === undefined || !isLoopbackAddress(remoteAddress)) return false
  if (forwardingHeaders.some((name) => headers[name] !== undefined)) return false
  // A page in a browser on this machine reaches loopback under a name of its own (DNS rebinding).
  return headers.host !== undefined && isLoopbackHost(headers.host)
}

function isLoopbackAddress(address: string): boolean {
  return address === '::1' || /^(?:::ffff:)?127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(address)
}

function isLoopbackHost(host: string): boolean {
  const name = host.replace(/:\d+$/, '').toLowerCase()
  return name === 'localhost' || name === '[::1]' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(name)
}

function bearer(header: string | undefined): string | undefined {
  return /^Bearer ([\w\-.~+/]+=*)$/i.exec(header ?? '')?.[1]
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
