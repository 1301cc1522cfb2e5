import { parseAnswerHead, type AnswerHead } from './answer-head.ts'
import { ChunkedBody } from './chunked-body.ts'
import { badAnswer, UpstreamFailure } from './upstream-failure.ts'

/** What becomes of an answer. */
export interface AnswerEvents {
  /** An interim answer (1xx), of which several may come before the answer. */
  onInterim(status: number, headers: readonly string[]): void
  onHead(head: AnswerHead): void
  onData(chunk: Buffer): void
}

/** Which request is being answered. */
export interface AnswerExpectation {
  readonly method: string
  /** Asks for another protocol: 101 ends HTTP on the connection. */
  readonly upgrade: boolean
}

/** Where the parser stands behind a chunk: amid the answer, at its end, or where another protocol begins. */
export type Progress =
  | { readonly at: 'answer' }
  | { readonly at: 'end' | 'upgrade'; readonly head: AnswerHead; readonly rest: Buffer }

const amid: Progress = { at: 'answer' }
const headEnd = '\r\n\r\n'
const protocol = 'HTTP/1.'
const bareLineFeed = /(?:^|[^\r])\n/
/** How many interim answers one answer may have. */
const mostInterim = 4_096
const nothing = Buffer.alloc(0)

/** Incremental parser of the answer to one request (RFC 9112). */
export class AnswerParser {
  readonly #expected: AnswerExpectation
  readonly #events: AnswerEvents
  readonly #maxHeadSize: number
  /** The part of a head that has come so far. */
  #partial = ''
  #head: AnswerHead | undefined
  #left = 0
  #interim = 0
  #chunked: ChunkedBody | undefined

  constructor(expected: AnswerExpectation, events: AnswerEvents, maxHeadSize: number) {
    this.#expected = expected
    this.#events = events
    this.#maxHeadSize = maxHeadSize
  }

  /** @throws UpstreamFailure when this is no answer. */
  push(chunk: Buffer): Progress {
    let rest = chunk
    let head = this.#head
    while (!head) {
      const from = this.#readHead(rest)
      if (from === -1) return amid
      rest = from === rest.length ? nothing : rest.subarray(from)
      head = this.#head
      if (head?.status === 101) return { at: 'upgrade', head, rest }
    }
    return this.#readBody(head, rest)
  }

  /** The connection has ended. The head of an answer that is whole with that. @throws UpstreamFailure for any other. */
  end(): AnswerHead {
    if (this.#head?.body === 'close') return this.#head
    throw new UpstreamFailure('CLOSED', 'The upstream closed the connection before its answer was whole.')
  }

  /** Where the head ends in the chunk, or -1 when more has to come. */
  #readHead(chunk: Buffer): number {
    const before = this.#partial.length
    const text =
      this.#partial + chunk.toString('latin1', 0, Math.min(chunk.length, this.#maxHeadSize - before + 4))
    const end = text.indexOf(headEnd, Math.max(0, before - 3))
    if (end === -1) {
      if (text.length > this.#maxHeadSize) throw badAnswer('its headers are too large')
      // What can never become an answer is not waited for.
      if (!protocol.startsWith(text.slice(0, protocol.length)))
        throw badAnswer('the status line cannot be read')
      if (bareLineFeed.test(text)) throw badAnswer('a line does not end with CR LF')
      this.#partial = text
      return -1
    }
    this.#partial = ''
    const head = parseAnswerHead(text.slice(0, end), this.#expected.method)
    const follows = end + headEnd.length - before
    if (head.status >= 200) {
      this.#head = head
      if (head.body === 'chunked') this.#chunked = new ChunkedBody(this.#maxHeadSize)
      else if (head.body !== 'close') this.#left = head.body
      this.#events.onHead(head)
    } else if (head.status !== 101) {
      this.#interim += 1
      if (this.#interim > mostInterim) throw badAnswer('there are too many interim answers')
      this.#events.onInterim(head.status, head.headers)
    } else if (this.#expected.upgrade) {
      this.#head = head
    } else {
      throw badAnswer('it changes the protocol, which was not asked for')
    }
    return follows
  }

  #readBody(head: AnswerHead, chunk: Buffer): Progress {
    if (this.#chunked) {
      const rest = this.#chunked.push(chunk, this.#events)
      return rest === undefined ? amid : { at: 'end', head, rest }
    }
    if (head.body === 'close') {
      if (chunk.length > 0) this.#events.onData(chunk)
      return amid
    }
    const data = chunk.length > this.#left ? chunk.subarray(0, this.#left) : chunk
    this.#left -= data.length
    if (data.length > 0) this.#events.onData(data)
    if (this.#left > 0) return amid
    return { at: 'end', head, rest: data.length === chunk.length ? nothing : chunk.subarray(data.length) }
  }
}
