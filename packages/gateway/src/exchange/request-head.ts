import type { ExchangePlan } from './exchange-host.ts'

/** Methods whose requests say that they have no body (RFC 9110, section 8.6). */
const withBody: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH'])

/** What ends a line, or would become another character when it is written as Latin-1. */
const unwritable = /[^\t\x20-\x7e\x80-\xff]/

/**
 * The request line and header section for the upstream.
 *
 * @throws Error for a part that would end its line. All have been read by a strict parser or checked before: this is
 *   the last line of defence against request smuggling.
 */
export function requestHead(
  method: string,
  { path, headers, hasBody, chunked, upgrade }: ExchangePlan,
): string {
  let head = `${method} ${path} HTTP/1.1`
  if (unwritable.test(head)) throw new Error('A request line has a control character.')
  for (let index = 0; index < headers.length; index += 2) {
    const line = `${headers[index]}: ${headers[index + 1]}`
    if (unwritable.test(line)) throw new Error(`The header ${headers[index]} has a control character.`)
    head += `\r\n${line}`
  }
  if (chunked) head += '\r\ntransfer-encoding: chunked'
  else if (!hasBody && withBody.has(method)) head += '\r\ncontent-length: 0'
  return `${head}${upgrade ? '\r\nconnection: upgrade\r\nupgrade: websocket' : '\r\nconnection: keep-alive'}\r\n\r\n`
}
