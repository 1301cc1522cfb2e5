import type { IncomingMessage } from 'node:http'
import type { RouteContext } from '@quintet/core'
import { toQuintetError } from '@quintet/core/kit'
import { serverError } from '../errors.ts'
import type { Exchange } from '../exchange/exchange.ts'
import { limitBody } from '../exchange/limit-body.ts'
import type { RouteMatch, RouteTable } from './route-table.ts'
import { methodNotAllowed } from './rpc.ts'
import { unknownProcedure, unknownRoute } from '../request/unknown-operations.ts'
import { toWebRequest } from '../request/web-request.ts'
import { sendResponse } from '../exchange/web-response.ts'

/** Asks the routes that match until one answers; 404 when none does, 405 when only other methods would match. */
export async function answerRoute(exchange: Exchange, table: RouteTable, path: string): Promise<void> {
  const { method = 'GET' } = exchange.request
  const matches = table.match(method, path)
  for (const match of matches) {
    if (await runRoute(exchange, match)) return
  }
  const allowed = matches.length === 0 ? table.allowed(path) : []
  const list = allowed.join(', ')
  if (allowed.length > 0) exchange.failUnknown(unknownRoute, methodNotAllowed(list), ['allow', list])
  else {
    const operation = path.startsWith('/rpc/') ? unknownProcedure : unknownRoute
    exchange.failUnknown(operation, serverError('ERR_SERVER_NOT_FOUND', 'There is nothing here.'))
  }
}

/** Runs one route through the pipeline, which stays open until the answer is sent. False when it is not the route's. */
async function runRoute(exchange: Exchange, match: RouteMatch): Promise<boolean> {
  const { site, request, response } = exchange
  const { route, operation, timeout, params } = match
  let breached = false
  const breach = (error: Error): void => {
    if (breached) return
    breached = true
    exchange.fail(error)
    exchange.abort(error)
  }
  let stopTimer: (() => void) | undefined
  try {
    return await site.host.pipeline.run(exchange.call(operation), {
      input: () => {
        const body = limitBody(exchange, route.maxRequestSize ?? site.options.maxRequestSize, breach)
        exchange.acceptBody()
        if (timeout > 0) stopTimer = startTimer(timeout, body.progressAt, breach)
        return toWebRequest(request, response, site.options.trustedProxies.origin(request))
      },
      handle: async (webRequest, invocation) => {
        const context: RouteContext<unknown> = {
          params,
          services: site.host.services,
          principal: invocation.principal,
          client: invocation.client,
          requestId: invocation.requestId,
          signal: invocation.signal,
          logger: invocation.logger,
        }
        // The definition tied the handler's types to the services and its access rule; both have been held.
        const answer = await runHandler(request, () =>
          route.handler(webRequest, context as RouteContext<never, never>),
        )
        stopTimer?.()
        if (answer === null) return false
        if (!isResponse(answer))
          throw new TypeError(`The handler of ${operation.name} returned neither a Response nor null.`)
        if (breached) await answer.body?.cancel()
        else await sendResponse(exchange, answer)
        return true
      },
    })
  } catch (error) {
    if (!breached) throw error
    return true
  } finally {
    stopTimer?.()
  }
}

/** A handler that fails because its client broke off the body has not failed itself. */
async function runHandler(
  request: IncomingMessage,
  handle: () => Response | null | Promise<Response | null>,
): Promise<Response | null> {
  try {
    return await handle()
  } catch (error) {
    if (request.complete || !request.destroyed) throw error
    throw toQuintetError(new DOMException('The client went away before its body was complete.', 'AbortError'))
  }
}

/** Ends a handler that has not answered in time; while its body still arrives, the time has not begun. */
function startTimer(timeout: number, progressAt: () => number, onLate: (error: Error) => void): () => void {
  const look = (): void => {
    const left = timeout - (performance.now() - progressAt())
    if (left > 1) timer = setTimeout(look, left)
    else onLate(toQuintetError(new DOMException('The route took longer than its timeout.', 'TimeoutError')))
  }
  let timer = setTimeout(look, timeout)
  return () => clearTimeout(timer)
}

function isResponse(value: unknown): value is Response {
  return (
    typeof value === 'object' && value !== null && 'status' in value && 'headers' in value && 'body' in value
  )
}
