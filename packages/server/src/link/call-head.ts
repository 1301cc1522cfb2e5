import { anonymous, isErrorKind, QuintetError, type Principal } from '@quintet/core'
import { toProblem } from '../problem.ts'

/** What a call says beside its input. */
export interface CallHead {
  readonly method: string
  /** Whom the caller acts for; the link has proved that it may say so. */
  readonly principal: Principal
  /** Milliseconds that the caller will wait. */
  readonly remaining: number | undefined
  readonly lastEventId: string | undefined
}

const texts = new WeakMap<Principal, string>()

/** The head as text. What is said of a principal is written once, since it is frozen. */
export function writeCallHead({ method, principal, remaining, lastEventId }: CallHead): string {
  let said = principal === anonymous ? 'null' : texts.get(principal)
  if (said === undefined) {
    said = JSON.stringify(principal)
    if (Object.isFrozen(principal)) texts.set(principal, said)
  }
  return `{"m":${JSON.stringify(method)},"p":${said}${remaining === undefined ? '' : `,"d":${String(remaining)}`}${
    lastEventId === undefined ? '' : `,"l":${JSON.stringify(lastEventId)}`
  }}`
}

/** @throws TypeError when it is no head. */
export function readCallHead(text: string): CallHead {
  const head = JSON.parse(text) as { m?: unknown; p?: unknown; d?: unknown; l?: unknown }
  if (typeof head !== 'object' || head === null || typeof head.m !== 'string')
    throw new TypeError('This is no call.')
  return {
    method: head.m,
    principal: head.p === null ? anonymous : readPrincipal(head.p),
    remaining: typeof head.d === 'number' ? head.d : undefined,
    lastEventId: typeof head.l === 'string' ? head.l : undefined,
  }
}

function readPrincipal(value: unknown): Principal {
  const principal = value as Principal
  const known =
    typeof value === 'object' && value !== null && ['anonymous', 'user', 'system'].includes(principal.kind)
  if (known && isTextList(principal.roles) && isTextList(principal.permissions))
    return Object.freeze(principal)
  throw new TypeError('The call names no principal.')
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
