import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { ClientInfo, Principal } from '@quintet/core'
import type { Credentials, Operation, Pipeline, TransportHost } from '@quintet/core/kit'
import { offeredProtocols, requestIdOf, traceparentOf, writeRawProblem } from '@quintet/core/http'
import { serverError } from '../errors.ts'
import { admit } from '../request/admit-request.ts'
import { challengeOf, presentedScheme } from '../request/credentials.ts'
import { toProblem } from '../problem.ts'
import { handshakeCredentials } from './bearer-protocol.ts'
import type { ResolvedWebSocketOptions } from '../options/socket-options.ts'

/** A client that may connect. */
export interface AdmittedClient {
  readonly protocol: string
  readonly principal: Principal
  readonly credentials: Credentials
  readonly requestId: string
  readonly client: ClientInfo
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
  const offered = offeredProtocols(request.headers['sec-websocket-protocol'])
  const protocol = offered.names.find((name) => protocols.has(name))
  if (protocol === undefined) {
    throw serverError('ERR_SERVER_PROTOCOL_UNSUPPORTED', 'Name a subprotocol that this server speaks.', {
      details: { supported: [...protocols.keys()] },
    })
  }
  const credentials = handshakeCredentials(request, offered, options.trustedProxies)
  const client = options.trustedProxies.client(request)
  const requestId = requestIdOf(request.headers['x-request-id'])
  const controller = new AbortController()
  const leave = (): void => controller.abort(new DOMException('The client went away.', 'AbortError'))
  request.socket.once('close', leave)
  try {
    const principal = await host.pipeline.authorize({
      operation,
      credentials,
      requestId,
      client,
      traceparent: traceparentOf(request.headers['traceparent']),
      signal: controller.signal,
    })
    return { protocol, principal, credentials, requestId, client }
  } finally {
    request.socket.off('close', leave)
  }
}

/** Answers a handshake with a problem document instead of an upgrade, and with the headers of a challenge. */
export function refuseUpgrade(
  socket: Duplex,
  thrown: unknown,
  challenge: Readonly<Record<string, string>> = {},
): void {
  writeRawProblem(socket, toProblem(thrown), challenge)
}

/** The challenge for a handshake that was refused. */
export function handshakeChallenge(
  request: IncomingMessage,
  pipeline: Pipeline,
  thrown: unknown,
): Readonly<Record<string, string>> {
  const offersToken = offeredProtocols(request.headers['sec-websocket-protocol']).tokens.length > 0
  const presented = offersToken ? 'bearer' : presentedScheme(request)
  return challengeOf(pipeline, thrown, presented)
}
