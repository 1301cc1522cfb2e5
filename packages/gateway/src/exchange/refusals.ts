import type { IncomingMessage, ServerResponse } from 'node:http'
import type { GatewayError } from '../errors.ts'
import type { ResolvedGatewayOptions } from '../options/gateway-options.ts'
import type { StopState } from '../traffic/stop-state.ts'
import { crossOriginHeaders, passesPreflight } from './cross-origin.ts'
import { sendProblem } from './send-problem.ts'

/** The answers that the gateway gives itself. */
export interface Refusals {
  refuse(request: IncomingMessage, response: ServerResponse, error: GatewayError, requestId: string): void
  /** Remembers that no more of a request can be read. */
  broken(request: IncomingMessage): void
  isBroken(request: IncomingMessage): boolean
}

export function createRefusals(
  { cors, securityHeaders }: Pick<ResolvedGatewayOptions, 'cors' | 'securityHeaders'>,
  state: StopState,
): Refusals {
  const broken = new WeakSet<IncomingMessage>()
  return {
    refuse(request, response, error, requestId) {
      const malformed = error.code === 'ERR_GATEWAY_BAD_REQUEST'
      const headers = [...securityHeaders, ...crossOriginHeaders(cors, request)]
      if (!malformed && passesPreflight(cors, request) && !response.headersSent) {
        response.writeHead(204, ['x-request-id', requestId, ...headers])
        response.end()
        return
      }
      sendProblem(request, response, error, {
        requestId,
        headers,
        close: state.stopping || malformed || error.code === 'ERR_GATEWAY_NOT_IMPLEMENTED',
        bodyFollows: request.headers.expect === undefined && !broken.has(request),
      })
    },
    broken: (request) => void broken.add(request),
    isBroken: (request) => broken.has(request),
  }
}
