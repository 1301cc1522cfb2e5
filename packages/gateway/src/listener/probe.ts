import type { IncomingMessage, ServerResponse } from 'node:http'
import { assertAnswerable } from '../admission/admission.ts'
import { readRequestHeaders } from '../admission/request-headers.ts'
import { GatewayError } from '../errors.ts'

/**
 * Answers the gateway's own `/livez` and `/readyz`. True when the request was one.
 *
 * @throws GatewayError when such a request is malformed, or of another method than GET and HEAD.
 */
export function answerProbe(
  request: IncomingMessage,
  response: ServerResponse,
  path: string,
  draining: boolean,
): boolean {
  if (path !== '/livez' && path !== '/readyz') return false
  assertAnswerable(request, readRequestHeaders(request.rawHeaders))
  if (request.method !== 'GET' && request.method !== 'HEAD')
    throw new GatewayError('ERR_GATEWAY_NO_ROUTE', 'This path answers GET and HEAD alone.')
  const pass = path === '/livez' || !draining
  const body = JSON.stringify({ status: pass ? 'pass' : 'fail' })
  if (draining) response.shouldKeepAlive = false
  response.writeHead(pass ? 200 : 503, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
  })
  response.end(body)
  return true
}
