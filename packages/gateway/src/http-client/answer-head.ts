import { badAnswer } from './upstream-failure.ts'

/** The status line and header section of an answer, and how its body is delimited. */
export interface AnswerHead {
  readonly status: number
  /** The reason phrase. */
  readonly reason: string
  /** Flat name and value pairs, as the upstream wrote them. */
  readonly headers: readonly string[]
  /** The number of bytes that follow, `'chunked'`, or `'close'` where only the end of the connection ends the body. */
  readonly body: number | 'chunked' | 'close'
  /** Whether the connection stays open behind the answer. */
  readonly keepAlive: boolean
  /** The answer names a body that it does not have (HEAD, 304), and that some servers send all the same. */
  readonly namesBody: boolean
  /** For how many milliseconds the upstream keeps it then, where it says so. */
  readonly keepAliveMs: number | undefined
}

const statusLine = /^HTTP\/1\.([01]) ([1-9]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/
const fieldName = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/
const notInValue = /[^\t\x20-\x7e\x80-\xff]/

/**
 * Reads the head of an answer without its empty line. Strict, since a client behind it has to read the same answer
 * (RFC 9112, section 6.3).
 *
 * @throws UpstreamFailure
 */
export function parseAnswerHead(text: string, method: string): AnswerHead {
  let end = text.indexOf('\r\n')
  const [, version, code, reason = ''] = statusLine.exec(end === -1 ? text : text.slice(0, end)) ?? []
  if (code === undefined) throw badAnswer('the status line cannot be read')
  const status = Number(code)
  const headers: string[] = []
  let length: number | undefined
  let chunked = false
  let named: 'close' | 'keep-alive' | undefined
  let keepAliveMs: number | undefined

  while (end !== -1) {
    const start = end + 2
    end = text.indexOf('\r\n', start)
    const lineEnd = end === -1 ? text.length : end
    const colon = text.indexOf(':', start)
    if (colon === -1 || colon > lineEnd) throw badAnswer('a header has no colon')
    const name = text.slice(start, colon)
    if (!fieldName.test(name)) throw badAnswer('a header has no valid name')
    const value = fieldValue(text, colon + 1, lineEnd)
    if (notInValue.test(value)) throw badAnswer(`the header ${name} has a control character`)
    headers.push(name, value)
    switch (name.length) {
      case 10:
        if (isNamed(name, 'connection')) named = optionOf(value, named)
        else if (isNamed(name, 'keep-alive')) keepAliveMs = timeoutOf(value)
        break
      case 14:
        if (!isNamed(name, 'content-length')) break
        if (length !== undefined) throw badAnswer('there is more than one Content-Length')
        if (!/^\d{1,15}$/.test(value)) throw badAnswer('the Content-Length is not a number of bytes')
        length = Number(value)
        break
      case 17:
        if (!isNamed(name, 'transfer-encoding')) break
        if (chunked || value.toLowerCase() !== 'chunked')
          throw badAnswer('the only transfer coding that is supported is "chunked", once')
        chunked = true
        break
    }
  }
  if (chunked && length !== undefined)
    throw badAnswer('there are both a Content-Length and a Transfer-Encoding')
  // HTTP/1.0 does not know it (RFC 9112, section 6.1).
  if (chunked && version === '0') throw badAnswer('there is a Transfer-Encoding in HTTP/1.0')
  const bodiless = method === 'HEAD' || status < 200 || status === 204 || status === 304
  const body = bodiless ? 0 : chunked ? 'chunked' : (length ?? 'close')
  const announced = chunked || (length ?? 0) > 0
  const namesBody = bodiless && (announced || (method === 'HEAD' && length === undefined))
  // No 204 may name one (RFC 9110, section 8.6): what else is wrong with it is not found out.
  const spoils = body === 'close' || (namesBody && status === 204)
  const keepAlive = !spoils && (named ?? (version === '1' ? 'keep-alive' : 'close')) === 'keep-alive'
  return { status, reason, headers, body, keepAlive, namesBody, keepAliveMs }
}

/** The value between two places, without the white space around it. */
function fieldValue(text: string, from: number, to: number): string {
  let start = from
  let end = to
  while (start < end && isBlank(text.charCodeAt(start))) start += 1
  while (end > start && isBlank(text.charCodeAt(end - 1))) end -= 1
  return text.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

function isNamed(name: string, lower: string): boolean {
  return name.toLowerCase() === lower
}

/** What `Connection` says of the connection itself: `close` wins, wherever it stands (RFC 9112, section 9.3). */
function optionOf(
  connection: string,
  before: 'close' | 'keep-alive' | undefined,
): 'close' | 'keep-alive' | undefined {
  if (before === 'close' || /(?:^|,)\s*close\s*(?:,|$)/i.test(connection)) return 'close'
  return /(?:^|,)\s*keep-alive\s*(?:,|$)/i.test(connection) ? 'keep-alive' : before
}

function timeoutOf(keepAlive: string): number | undefined {
  const seconds = /(?:^|,)\s*timeout\s*=\s*"?(\d{1,9})/i.exec(keepAlive)?.[1]
  return seconds === undefined ? undefined : Number(seconds) * 1_000
}
