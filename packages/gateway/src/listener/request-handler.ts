import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { Logger } from '@quintet/core'
import { requestIdOf } from '@quintet/core/http'
import type { Admission, Admitted } from '../admission/admission.ts'
import { parseRequestTarget } from '../admission/request-target.ts'
import { GatewayError } from '../errors.ts'
import type { Exchanges } from './exchanges.ts'
import type { Refusals } from '../exchange/refusals.ts'
import { logFailure, type Outcome } from '../traffic/settled-report.ts'
import type { StopState } from '../traffic/stop-state.ts'
import { answerProbe } from './probe.ts'

/** Decides over requests, and sends them on their way. */
export interface RequestHandler {
  /** How many requests wait for their rate limit. */
  readonly counting: number
  /** `takeSocket` is there for a WebSocket handshake. */
  handle(request: IncomingMessage, response: ServerResponse, takeSocket: (() => Socket) | undefined): void
}

export interface RequestHandlerOptions {
  readonly logger: Logger
  readonly state: StopState
  readonly admission: Admission
  readonly exchanges: Exchanges
  readonly refusals: Refusals
  readonly report: (outcome: Outcome) => void
}

/** A request that has come in, and when, on the monotonic clock. */
interface Arrival {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly requestId: string
  readonly startedAt: number
}

/** What a request ends with whose client has left before it was sent on. */
const clientGone = new GatewayError('ERR_GATEWAY_REQUEST_TIMEOUT', 'The client has left.')

export function createRequestHandler(options: RequestHandlerOptions): RequestHandler {
  const { logger, state, admission, exchanges, refusals, report } = options
  let counting = 0

  /** Waits until the request is counted. @throws GatewayError where it does not go on then. */
  async function count(counted: Promise<void>, { request, response }: Arrival): Promise<void> {
    counting += 1
    try {
      await counted
    } finally {
      counting -= 1
    }
    if (response.destroyed) throw clientGone
    if (refusals.isBroken(request))
      throw new GatewayError('ERR_GATEWAY_BAD_REQUEST', 'The request body is malformed.')
  }

  /** Answers a request that does not go on, whatever goes wrong with that. */
  function refuse(arrival: Arrival, thrown: unknown, route: string | undefined): void {
    const { request, response, requestId, startedAt } = arrival
    try {
      const error = toGatewayError(thrown)
      const gone = error === clientGone
      if (error !== thrown) logger.error({ err: thrown, requestId }, 'a request could not be handled')
      if (!gone) refusals.refuse(request, response, error, requestId)
      report({
        requestId,
        method: request.method ?? '',
        route,
        upstream: undefined,
        status: gone ? 0 : response.statusCode,
        outcome: gone ? 'aborted' : error.code,
        attempts: 0,
        startedAt,
      })
    } catch (error) {
      response.destroy()
      logFailure(logger, error, { requestId }, 'a request could not be answered')
    }
  }

  return {
    get counting() {
      return counting
    },
    handle(request, response, takeSocket) {
      const requestId = requestIdOf(request.headers['x-request-id'])
      const arrival: Arrival = { request, response, requestId, startedAt: performance.now() }
      let admitted: Admitted | undefined
      try {
        const target = parseRequestTarget(request.url ?? '')
        if (answerProbe(request, response, target.path, state.stopping)) return
        admitted = admission.admit(request, target, requestId, takeSocket !== undefined)
        const { route, plan } = admitted
        const counted = admission.count(request, response, admitted)
        if (!counted) {
          exchanges.begin(request, response, plan, takeSocket)
          return
        }
        count(counted, arrival)
          .then(() => exchanges.begin(request, response, plan, takeSocket))
          .catch((error: unknown) => refuse(arrival, error, route.name))
      } catch (error) {
        refuse(arrival, error, admitted?.route.name)
      }
    },
  }
}

function toGatewayError(thrown: unknown): GatewayError {
  if (thrown instanceof GatewayError) return thrown
  return new GatewayError('ERR_GATEWAY_INTERNAL', 'Something failed on our side.', { cause: thrown })
}
