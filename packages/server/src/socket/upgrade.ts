import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { Principal } from '@quintet/core'
import type { Credentials, Operation, TransportHost } from '@quintet/core/kit'
import { requestIdOf, traceparentOf } from '../request/call-headers.ts'
import { serverError } from '../errors.ts'
import { admit } from '../request/admit-request.ts'
import { toProblem } from '../problem.ts'
import { handshakeCredentials, offeredProtocols } from './bearer-protocol.ts'
import type { ResolvedWebSocketOptions } from '../options/socket-options.ts'

/** A client that may connect. */
export interface AdmittedClient {
  readonly protocol: string
  readonly principal: Principal
  readonly credentials: Credentials
  readonly requestId: string
}

/**
 * Decides about a handshake before anything is upgraded.
 *
 * @throws QuintetError which {@link refuseUpgrade} answers as plain HTTP.
 */
export async function admitClient(
  request: IncomingMessage,
  host: TransportHost,
  options: ResolvedWebSocketOptions,
  operation: Operation,
  protocols: ReadonlyMap<string, unknown>,
): Promise<AdmittedClient> {
  const path = admit(request)
  if (path !== options.path) throw serverError('ERR_SERVER_NOT_FOUND', 'There is nothing here.')
  const { origin, upgrade } = request.headers
  if (request.method !== 'GET' || upgrade?.toLowerCase() !== 'websocket') {
    throw serverError('ERR_SERVER_BAD_REQUEST', 'Only a GET that upgrades to websocket is answered here.')
  }
  if (origin !== undefined && !options.origins.has(origin)) {
    throw serverError('ERR_SERVER_ORIGIN_REFUSED', 'Pages of this origin may not connect.')
  }
  const offered = offeredProtocols(request)
  const protocol = offered.names.find((name) => protocols.has(name))
  if (protocol === undefined) {
    throw serverError('ERR_SERVER_PROTOCOL_UNSUPPORTED', 'Name a subprotocol that this server speaks.', {
      details: { supported: [...protocols.keys()] },
    })
  }
  const credentials = handshakeCredentials(request, offered)
  const requestId = requestIdOf(request.headers['x-request-id'])
  const controller = new AbortController()
  const leave = (): void => controller.abort(new DOMException('The client went away.', 'AbortError'))
  request.socket.once('close', leave)
  try {
    const principal = await host.pipeline.authorize({
      operation,
      credentials,
      requestId,
      traceparent: traceparentOf(request.headers['traceparent']),
      signal: controller.signal,
    })
    return { protocol, principal, credentials, requestId }
  } finally {
    request.socket.off('close', leave)
  }
}

/** Answers a handshake with a problem document instead of an upgrade. */
export function refuseUpgrade(socket: Duplex, thrown: unknown, requestId?: string): void {
  if (socket.destroyed || !socket.writable) {
    socket.destroy()
    return
  }
  const problem = toProblem(thrown, requestId)
  const body = JSON.stringify(problem)
  const headers = [
    'Connection: close',
    'Content-Type: application/problem+json',
    `Content-Length: ${String(Buffer.byteLength(body))}`,
    ...(problem.retryAfter === undefined
      ? []
      : [`Retry-After: ${String(Math.ceil(problem.retryAfter / 1_000))}`]),
    ...(problem.status === 401 ? ['WWW-Authenticate: Bearer'] : []),
  ]
  socket.end(`HTTP/1.1 ${String(problem.status)} ${problem.title}\r\n${headers.join('\r\n')}\r\n\r\n${body}`)
  const timer = setTimeout(() => socket.destroy(), 1_000)
  socket.once('close', () => clearTimeout(timer))
}
