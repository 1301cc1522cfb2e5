import type { Socket } from 'node:net'
import type { AnswerHead } from './answer-head.ts'
import {
  AnswerParser,
  type AnswerEvents,
  type AnswerExpectation,
  type AnswerLimits,
} from './answer-parser.ts'
import { UpstreamFailure, type FailedAt } from './upstream-failure.ts'

/** A request for an upstream: its head as it is written, and what says how the answer is read. */
export interface UpstreamRequest extends AnswerExpectation {
  readonly head: string
  /** Sending it twice does no more than sending it once. */
  readonly repeatable: boolean
}

/** Follows a request to an upstream. After `onEnd`, `onUpgrade` or `onFailure` comes nothing more. */
export interface UpstreamHandler extends AnswerEvents {
  /** Whether the whole request has been handed over. */
  readonly sent: boolean
  /** The head is being sent on this socket; the body may follow. */
  onSent(socket: Socket): void
  onEnd(): void
  /** The answer is 101: the socket is the handler's, and what has come on it already can be read from it. */
  onUpgrade(head: AnswerHead, socket: Socket): void
  onFailure(error: NodeJS.ErrnoException, at: FailedAt): void
}

export interface ConnectionEvents {
  /** Can be used again. */
  onIdle(connection: UpstreamConnection, head: AnswerHead): void
  /** Cannot be used any more, also because its socket has been handed over. */
  onGone(connection: UpstreamConnection): void
  /** Bytes have come behind an answer that named a body without having one. */
  onNamedBody(): void
  /** It had waited, and was lost before its next answer began: those that wait beside it are doubtful too. */
  onStale(): void
}

/** A connection to an upstream. It carries one request at a time: HTTP/1.1 without pipelining. */
export class UpstreamConnection {
  /** Since when it waits for a request, on the monotonic clock. */
  idleSince = 0
  /** Until when it may be used again, on the monotonic clock. */
  expiresAt = Number.POSITIVE_INFINITY
  readonly #socket: Socket
  readonly #limits: AnswerLimits
  readonly #events: ConnectionEvents
  #handler: UpstreamHandler | undefined
  #parser: AnswerParser | undefined
  #error: Error | undefined
  #connected = false
  #requests = 0
  /** The last answer named a body that it did not have. */
  #namedBody = false
  /** Something of the present answer has come. */
  #answered = false

  constructor(socket: Socket, limits: AnswerLimits, events: ConnectionEvents) {
    this.#socket = socket
    this.#limits = limits
    this.#events = events
    socket
      .on('data', this.#onData)
      .on('end', this.#onEnd)
      .on('error', this.#onError)
      .on('close', this.#onClose)
  }

  /** The connection stands: requests can be sent. */
  connected(): void {
    this.#connected = true
    this.#handler?.onSent(this.#socket)
  }

  send(request: UpstreamRequest, handler: UpstreamHandler): void {
    this.#handler = handler
    this.#requests += 1
    this.#answered = false
    this.#parser = new AnswerParser(request, this.#answer, this.#limits)
    this.#socket.write(request.head, 'latin1')
    if (this.#connected) handler.onSent(this.#socket)
  }

  /** Stops reading for this handler's sake, which takes no more for now. */
  pause(handler: UpstreamHandler): void {
    if (this.#handler === handler) this.#socket.pause()
  }

  resume(handler: UpstreamHandler): void {
    if (this.#handler === handler) this.#socket.resume()
  }

  /** Ends what is in progress for this handler, which is told nothing more. */
  abort(handler: UpstreamHandler): void {
    if (this.#handler !== handler) return
    this.#handler = undefined
    this.#socket.destroy()
  }

  destroy(error?: Error): void {
    this.#error ??= error
    this.#socket.destroy()
  }

  readonly #answer: AnswerEvents = {
    onInterim: (status, headers) => this.#handler?.onInterim(status, headers),
    onHead: (head) => this.#handler?.onHead(head),
    onData: (chunk) => this.#handler?.onData(chunk),
  }

  readonly #onData = (chunk: Buffer): void => {
    const parser = this.#parser
    if (!parser || !this.#handler) {
      // Not asked for: whatever it is, it must not be taken for the answer to the next request.
      if (this.#namedBody) this.#events.onNamedBody()
      this.#events.onGone(this)
      this.#socket.destroy()
      return
    }
    this.#answered = true
    try {
      const progress = parser.push(chunk)
      if (progress.at === 'end') this.#ended(progress.head, progress.rest.length === 0)
      else if (progress.at === 'upgrade') this.#upgraded(progress.head, progress.rest)
    } catch (error) {
      this.destroy(error as Error)
    }
  }

  readonly #onEnd = (): void => {
    const parser = this.#parser
    if (!parser || !this.#handler) {
      // At once: no request may be sent on it any more.
      this.#events.onGone(this)
      this.#socket.destroy()
      return
    }
    try {
      this.#ended(parser.end(), false)
    } catch (error) {
      this.destroy(error as Error)
    }
  }

  readonly #onError = (error: Error): void => {
    this.#error ??= error
  }

  readonly #onClose = (): void => {
    this.#events.onGone(this)
    const handler = this.#handler
    this.#handler = this.#parser = undefined
    if (!handler) return
    const at = !this.#connected ? 'connecting' : this.#requests > 1 && !this.#answered ? 'stale' : 'asked'
    if (at === 'stale') this.#events.onStale()
    handler.onFailure(
      this.#error ?? new UpstreamFailure('CLOSED', 'The upstream closed the connection without an answer.'),
      at,
    )
  }

  /** The answer is whole. `clean`: nothing has come behind it. */
  #ended(head: AnswerHead, clean: boolean): void {
    const handler = this.#handler
    this.#handler = this.#parser = undefined
    this.#namedBody = head.namesBody
    if (head.namesBody && !clean) this.#events.onNamedBody()
    if (head.keepAlive && clean && handler?.sent === true && isQuiet(this.#socket)) {
      if (this.#socket.isPaused()) this.#socket.resume()
      this.#events.onIdle(this, head)
    } else {
      this.#socket.destroy()
    }
    handler?.onEnd()
  }

  #upgraded(head: AnswerHead, rest: Buffer): void {
    const handler = this.#handler
    const socket = this.#socket
    this.#handler = this.#parser = undefined
    socket
      .off('data', this.#onData)
      .off('end', this.#onEnd)
      .off('error', this.#onError)
      .off('close', this.#onClose)
    this.#events.onGone(this)
    if (rest.length > 0) socket.unshift(rest)
    if (handler) handler.onUpgrade(head, socket)
    else socket.destroy()
  }
}

/** Nothing of the request is left to be written, and nothing is left to be read. */
function isQuiet(socket: Socket): boolean {
  return socket.writable && socket.writableLength === 0 && socket.readableLength === 0
}
