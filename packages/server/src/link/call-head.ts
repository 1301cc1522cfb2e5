import { anonymous, isErrorKind, QuintetError, type Principal } from '@quintet/core'
import { toProblem } from '../problem.ts'
import type { ByteRange } from './byte-range.ts'

/** What a call says beside its input and its deadline. */
export interface CallHead {
  readonly method: string
  /** Whom the caller acts for; the link has proved that it may say so. */
  readonly principal: Principal
  readonly lastEventId: string | undefined
}

/** Heads that were written before: the same user calls the same procedures again and again. */
const written = new WeakMap<Principal, Map<string, Buffer>>()

export function writeCallHead(head: CallHead): Buffer {
  const { method, principal, lastEventId } = head
  if (lastEventId !== undefined || !Object.isFrozen(principal)) return encodeHead(head)
  let heads = written.get(principal)
  if (heads === undefined) written.set(principal, (heads = new Map()))
  let bytes = heads.get(method)
  if (bytes === undefined) heads.set(method, (bytes = encodeHead(head)))
  return bytes
}

function encodeHead({ method, principal, lastEventId }: CallHead): Buffer {
  return Buffer.from(
    JSON.stringify({ m: method, p: principal.kind === 'anonymous' ? null : principal, l: lastEventId }),
    'utf8',
  )
}

/** Reads heads, and remembers those that come often. */
export class CallHeadReader {
  readonly #known = new Map<string, CallHead>()

  /** @throws TypeError when it is no head. */
  read(bytes: ByteRange): CallHead {
    const key = bytes.toString('latin1')
    let head = this.#known.get(key)
    if (head === undefined) {
      head = parseHead(bytes.toString())
      if (this.#known.size >= maxKnownHeads) this.#known.clear()
      if (head.lastEventId === undefined) this.#known.set(key, head)
    }
    return head
  }
}

const maxKnownHeads = 256

function parseHead(text: string): CallHead {
  const head = JSON.parse(text) as { m?: unknown; p?: unknown; l?: unknown }
  if (typeof head !== 'object' || head === null || typeof head.m !== 'string')
    throw new TypeError('This is no call.')
  return {
    method: head.m,
    principal: head.p === null ? anonymous : readPrincipal(head.p),
    lastEventId: typeof head.l === 'string' ? head.l : undefined,
  }
}

function readPrincipal(value: unknown): Principal {
  const principal = value as Principal
  const known = typeof value === 'object' && value !== null && ['user', 'system'].includes(principal.kind)
  if (known && isTextList(principal.roles) && isTextList(principal.permissions)) return freeze(principal)
  throw new TypeError('The call names no principal.')
}

/** All through: the same principal is given to many handlers. */
function freeze<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value
  for (const member of Object.values(value)) freeze(member)
  return Object.freeze(value)
}

function isTextList(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

/** An error as text, for the sibling that made the call. */
export function writeError(thrown: unknown): string {
  const { code, kind, detail, details, retryAfter } = toProblem(thrown)
  return JSON.stringify({ code, kind, detail, details, retryAfter })
}

export function readError(text: string): QuintetError {
  const said = JSON.parse(text) as Record<string, unknown>
  return new QuintetError(String(said['detail']), {
    code: String(said['code']),
    kind: isErrorKind(said['kind']) ? said['kind'] : 'internal',
    ...(typeof said['details'] === 'object' && said['details'] !== null
      ? { details: said['details'] as Record<string, unknown> }
      : {}),
    ...(typeof said['retryAfter'] === 'number' ? { retryAfter: said['retryAfter'] } : {}),
  })
}
