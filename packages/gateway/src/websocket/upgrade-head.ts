import type { Socket } from 'node:net'
import { readResponseHeaders, type PathRewrite } from '../exchange/response-headers.ts'

/** Tells the client that its WebSocket is open. Returns the negotiated subprotocol, if any. */
export function writeUpgradeHead(
  client: Socket,
  rawHeaders: readonly string[],
  { requestId, rewrite }: { readonly requestId: string; readonly rewrite: PathRewrite | undefined },
): string | undefined {
  const headers = readResponseHeaders(rawHeaders, 101, rewrite)
  let protocol: string | undefined
  let head = 'HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n'
  for (let index = 0; index < headers.length; index += 2) {
    const name = (headers[index] as string).toLowerCase()
    const value = headers[index + 1] as string
    if (name === 'sec-websocket-protocol') protocol = value
    if (name !== 'content-length' && name !== 'x-request-id') head += `${name}: ${value}\r\n`
  }
  client.write(`${head}x-request-id: ${requestId}\r\n\r\n`, 'latin1')
  return protocol
}
