import { STATUS_CODES, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AnswerHead } from '../http-client/answer-head.ts'
import { breakOff } from './break-off.ts'
import { endLingering } from './lingering-close.ts'

/** How many early hints of one answer go on. */
const mostHints = 16

/** Up to how many bytes an answer is copied to be written at once. */
const smallAnswer = 16_384

/** The answer to a client, as it is written. */
export class ClientAnswer {
  readonly #request: IncomingMessage
  readonly #response: ServerResponse
  /** Whether the head has been given. */
  begun = false
  #headSent = false
  #wholeLength = -1
  /** The body of a small answer that came in one piece: written together with its head, in one system call. */
  #whole: string | undefined
  #hints = 0

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.#request = request
    this.#response = response
  }

  /** Sends an upstream's 103 on, while nothing else is being written on the connection (RFC 8297). */
  hint(headers: readonly string[]): void {
    const { socket } = this.#response
    if (!socket || this.#request.httpVersion !== '1.1') return
    // A hint is worth nothing to a client that does not read it, and must not be held for it.
    if (socket.writableNeedDrain || this.#hints >= mostHints) return
    let lines = ''
    for (let index = 0; index < headers.length; index += 2)
      if (headers[index]?.toLowerCase() === 'link') lines += `link: ${headers[index + 1]}\r\n`
    if (lines === '') return
    this.#hints += 1
    socket.write(`HTTP/1.1 103 Early Hints\r\n${lines}\r\n`, 'latin1')
  }

  /** @param headers what goes on of the upstream's. */
  begin({ status, reason, body }: AnswerHead, headers: string[], bodyIsOwed: boolean): void {
    if (bodyIsOwed) this.#response.shouldKeepAlive = false
    this.#response.writeHead(status, reasonPhrase(status, reason), headers)
    this.begun = true
    if (typeof body === 'number') this.#wholeLength = body
    // A body that came with the head is written together with it.
    if (body !== 0) process.nextTick(flushHead, this)
  }

  /** Sends the head of an answer whose body has not begun. */
  flushHead(): void {
    if (this.#headSent || this.#whole !== undefined) return
    this.#headSent = true
    this.#response.flushHeaders()
  }

  /** False when no more can be taken for now. */
  write(chunk: Buffer): boolean {
    if (chunk.length === this.#wholeLength && chunk.length <= smallAnswer) {
      this.#whole = chunk.toString('latin1')
      return true
    }
    this.#headSent = true
    return this.#response.write(chunk)
  }

  /** @param bodyIsOwed the client is still sending its request, and would miss the answer of a connection that is cut. */
  end(bodyIsOwed: boolean): void {
    this.#headSent = true
    if (!bodyIsOwed) {
      if (this.#whole === undefined) this.#response.end()
      else this.#response.end(this.#whole, 'latin1')
      return
    }
    if (this.#whole !== undefined) this.#response.write(this.#whole, 'latin1')
    endLingering(this.#request, this.#response)
  }

  breakOff(): void {
    this.#headSent = true
    breakOff(this.#response)
  }
}

function flushHead(answer: ClientAnswer): void {
  answer.flushHead()
}

/** The phrase of the status line as the upstream wrote it, or nothing where Node could not write it. */
function reasonPhrase(status: number, given: string): string {
  if (given === STATUS_CODES[status]) return given
  return /^[\t\x20-\x7e]+$/.test(given) ? given : (STATUS_CODES[status] ?? '')
}
