import { anonymous, type Principal, type QuintetError } from '@quintet/core'
import { deepFreeze } from '@quintet/core/kit'
import { serverError } from '../errors.ts'
import { fromProblem, toProblem } from '../problem.ts'
import type { ByteRange } from './byte-range.ts'

/** What a call says beside its input and its deadline. */
export interface CallHead {
  readonly method: string
  /** Whom the caller acts for; the link has proved that it may say so. */
  readonly principal: Principal
  readonly lastEventId: string | undefined
}

/** Heads that a link remembers, so that they are sent and read once and not with each call. */
const rememberedHeads = 1_024
/** In the place of a number: a head that is not remembered. */
const once = 0xffff_ffff

/** Writes the heads of one link: the same users call the same procedures again and again. */
export class CallHeadWriter {
  readonly #numbers = new WeakMap<Principal, Map<string, number>>()
  /** Who has each number; the one that was given first loses it to the next new head. */
  readonly #holders: Map<string, number>[] = []
  readonly #methods: string[] = []
  #next = 0

  /**
   * @param room the most bytes that the head may have.
   * @returns the pieces of a frame: the number of the head, the length of what follows, and the head if it is new.
   * @throws QuintetError `ERR_SERVER_TOO_LARGE`.
   */
  write(head: CallHead, room: number): readonly (number | Uint8Array)[] {
    const { method, principal, lastEventId } = head
    if (lastEventId !== undefined || !Object.isFrozen(principal)) return withBytes(once, head, room)
    let numbers = this.#numbers.get(principal)
    if (numbers === undefined) this.#numbers.set(principal, (numbers = new Map()))
    const known = numbers.get(method)
    if (known !== undefined) return [known, 0]
    const number = this.#next
    // One that is not sent must not be remembered.
    const pieces = withBytes(number, head, room)
    this.#next = (number + 1) % rememberedHeads
    this.#holders[number]?.delete(this.#methods[number] ?? '')
    this.#holders[number] = numbers
    this.#methods[number] = method
    numbers.set(method, number)
    return pieces
  }
}

function withBytes(
  number: number,
  { method, principal, lastEventId }: CallHead,
  room: number,
): readonly (number | Uint8Array)[] {
  const text = JSON.stringify({
    m: method,
    p: principal.kind === 'anonymous' ? null : principal,
    l: lastEventId,
  })
  const bytes = Buffer.from(text, 'utf8')
  if (bytes.length > room) {
    throw serverError('ERR_SERVER_TOO_LARGE', 'The call is larger than a frame, with its principal.')
  }
  return [number, bytes.length, bytes]
}

/** Reads the heads of one link. */
export class CallHeadReader {
  readonly #known: CallHead[] = []

  /** @throws TypeError when there is no such head. */
  read(number: number, bytes: ByteRange): CallHead {
    if (bytes.length === 0) {
      const head = this.#known[number]
      if (head === undefined) throw new TypeError('A call refers to a head that was not sent.')
      return head
    }
    const head = parseHead(bytes.toString())
    if (number < rememberedHeads && head.lastEventId === undefined) this.#known[number] = head
    return head
  }
}

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
  if (known && isTextList(principal.roles) && isTextList(principal.permissions))
    // The same principal is given to many handlers.
    return deepFreeze(principal)
  throw new TypeError('The call names no principal.')
}

function isTextList(value: unknown): boolean {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

/** The message of an error that was too long for its frame keeps so many characters. */
const cutLength = 200

/**
 * An error as text, for the sibling that made the call. One that is too long for a frame loses its details and the end
 * of its message.
 *
 * @param limit the most bytes that it may have.
 */
export function writeError(thrown: unknown, limit: number): string {
  const { code, kind, detail, details, retryAfter } = toProblem(thrown)
  const whole = JSON.stringify({ code, kind, detail, details, retryAfter })
  if (Buffer.byteLength(whole) <= limit) return whole
  return JSON.stringify({ code: cut(code), kind, detail: cut(detail), retryAfter })
}

function cut(text: string): string {
  return text.length > cutLength ? `${text.slice(0, cutLength)}…` : text
}

export function readError(text: string): QuintetError {
  return fromProblem(JSON.parse(text))
}
