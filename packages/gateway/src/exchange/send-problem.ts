import type { IncomingMessage, ServerResponse } from 'node:http'
import { hasBody, retryAfterSeconds, statusOf, toProblem } from '@quintet/core/http'
import { breakOff } from './break-off.ts'
import { endLingering } from './lingering-close.ts'
import type { GatewayError } from '../errors.ts'
import { maintenancePage } from '../maintenance/maintenance-page.ts'
import { statuses } from '../options/statuses.ts'

export interface ProblemOptions {
  readonly requestId: string
  /** Flat name and value pairs. */
  readonly headers: readonly string[]
  /** End the connection with this answer. */
  readonly close: boolean
  /** False when the client waits for "100 Continue" and will not send its body. */
  readonly bodyFollows: boolean
}

/** Answers with `application/problem+json` (RFC 9457), or a page where a browser meets maintenance. */
export function sendProblem(
  request: IncomingMessage,
  response: ServerResponse,
  error: GatewayError,
  options: ProblemOptions,
): void {
  if (response.headersSent || response.destroyed) {
    breakOff(response)
    return
  }
  const page = error.code === 'ERR_GATEWAY_MAINTENANCE' && prefersHtml(request.headers.accept)
  const body = page
    ? maintenancePage(error.message, options.requestId)
    : problemBody(error, options.requestId)
  const headers = [
    'content-type',
    page ? 'text/html; charset=utf-8' : 'application/problem+json',
    'content-length',
    String(Buffer.byteLength(body)),
    'cache-control',
    'no-store',
    'x-request-id',
    options.requestId,
    ...options.headers,
  ]
  if (error.retryAfter !== undefined) headers.push('retry-after', retryAfterSeconds(error.retryAfter))
  const bodyIsOwed = hasBody(request) && !request.complete
  if (options.close || bodyIsOwed) response.shouldKeepAlive = false
  response.writeHead(statusOf(error, statuses), headers)
  if (request.method !== 'HEAD') response.write(body)
  if (bodyIsOwed && options.bodyFollows) endLingering(request, response)
  else response.end()
}

/** The problem details of an error as JSON (RFC 9457). Its message is the gateway's own, also where it is internal. */
export function problemBody(error: GatewayError, requestId: string): string {
  const { code, retryAfter } = error
  return JSON.stringify({ ...toProblem(error, { requestId, statuses }), code, retryAfter })
}

function prefersHtml(accept: string | undefined): boolean {
  const html = quality(accept, 'text/html')
  return (
    html > 0 &&
    html >= quality(accept, 'application/problem+json') &&
    html >= quality(accept, 'application/json')
  )
}

/** The quality that an `Accept` header gives to a media type by name (RFC 9110, section 12.5.1); 0 when it is not named. */
function quality(accept: string | undefined, type: string): number {
  for (const range of accept?.split(',') ?? []) {
    const [name = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase())
    if (name !== type) continue
    const q = parameters.find((parameter) => parameter.startsWith('q='))
    return q === undefined ? 1 : Number(q.slice(2)) || 0
  }
  return 0
}
