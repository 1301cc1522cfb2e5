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

/** What a connection allows of an answer. */
export interface AnswerLimits {
  /** The most bytes of a status line and header section. */
  readonly maxHeadSize: number
  /** Whether the end of the connection may be the end of an answer. */
  readonly endsWithConnection: boolean
}

/** Where the parser stands behind a chunk: amid the answer, at its end, or where another protocol begins. */
export type Progress =
  | { readonly at: 'answer' }
  | { readonly at: 'end' | 'upgrade'; readonly head: AnswerHead; readonly rest: Buffer }

const amid: Progress = { at: 'answer' }
const headEnd = '\r\n\r\n'
const protocol = 'HTTP/1.'
const bareLineFeed = /[^\r]\n/
/** The longest line of a chunk's size with its extensions, and of all trailers together. */
const maxChunkLine = 16_384
/** How many interim answers one answer may have. */
const mostInterim = 4_096
const nothing = Buffer.alloc(0)

/** Incremental parser of the answer to one request (RFC 9112). */
export class AnswerParser {
  readonly #expected: AnswerExpectation
  readonly #events: AnswerEvents
  readonly #limits: AnswerLimits
  /** The part of a head that has come so far. */
  #partial = ''
  /** Its last characters, in which its end may begin. */
  #tail = ''
  #head: AnswerHead | undefined
  #left = 0
  #interim = 0
  #chunked: ChunkedBody | undefined

  constructor(expected: AnswerExpectation, events: AnswerEvents, limits: AnswerLimits) {
    this.#expected = expected
    this.#events = events
    this.#limits = limits
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
    const { maxHeadSize } = this.#limits
    const before = this.#partial.length
    const read = chunk.toString('latin1', 0, Math.min(chunk.length, maxHeadSize - before + headEnd.length))
    // Only what is new is searched: a head may come in any number of pieces.
    const searched = this.#tail + read
    const found = searched.indexOf(headEnd)
    if (before < protocol.length) assertProtocol(this.#partial + read)
    if (found === -1) {
      if (before + read.length > maxHeadSize) throw tooLarge(maxHeadSize)
      // What can never become an answer is not waited for.
      if (bareLineFeed.test(searched)) throw badAnswer('a line does not end with CR LF')
      this.#partial += read
      this.#tail = searched.slice(1 - headEnd.length)
      return -1
    }
    const follows = found + headEnd.length - this.#tail.length
    const text = (this.#partial + read).slice(0, before + follows - headEnd.length)
    this.#partial = this.#tail = ''
    const head = parseAnswerHead(text, this.#expected.method)
    if (head.body === 'close' && !this.#limits.endsWithConnection)
      throw badAnswer(
        'over TLS it needs a length or chunks, since a connection that is cut looks like its end',
      )
    if (head.status >= 200) {
      this.#head = head
      if (head.body === 'chunked') this.#chunked = new ChunkedBody(maxChunkLine)
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

/** Tells a server of another protocol from an answer that is not valid. @throws UpstreamFailure */
function assertProtocol(text: string): void {
  if (!protocol.startsWith(text.slice(0, protocol.length)))
    throw new UpstreamFailure('NOT_HTTP', 'The answer is not HTTP/1.1: it has no status line.')
}

function tooLarge(limit: number): UpstreamFailure {
  return badAnswer(`its headers are larger than ${limit} bytes, see maxResponseHeaderSize`)
}
