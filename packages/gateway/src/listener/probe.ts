import type { IncomingMessage, ServerResponse } from 'node:http'

/** Answers the gateway's own `/livez` and `/readyz`. True when the request was one. */
export function answerProbe(request: IncomingMessage, response: ServerResponse, draining: boolean): boolean {
  const path = request.url
  if ((path !== '/livez' && path !== '/readyz') || (request.method !== 'GET' && request.method !== 'HEAD'))
    return false
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
