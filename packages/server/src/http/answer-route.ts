import type { IncomingMessage } from 'node:http'
import { isQuintetError, type Principal, type RouteContext } from '@quintet/core'
import { checkOutput, toQuintetError } from '@quintet/core/kit'
import { serverError } from '../errors.ts'
import type { Exchange } from '../exchange/exchange.ts'
import { limitBody } from '../exchange/limit-body.ts'
import type { RouteMatch, RouteTable } from './route-table.ts'
import { methodNotAllowed, parseBody } from './rpc.ts'
import { readBody, tooLarge } from '../request/read-body.ts'
import { describesInput, readRouteInput, type RouteInput } from '../request/route-input.ts'
import { unknownProcedure, unknownRoute } from '../request/unknown-operations.ts'
import { toWebRequest } from '../request/web-request.ts'
import { sendResponse } from '../exchange/web-response.ts'

/** Asks the routes that match until one answers; 404 when none does, 405 when only other methods would match. */
export async function answerRoute(exchange: Exchange, table: RouteTable, path: string): Promise<void> {
  const { method = 'GET' } = exchange.request
  const matches = table.match(method, path)
  const body = new BufferedBody(exchange)
  for (const match of matches) {
    if (await runRoute(exchange, match, body)) return
  }
  const allowed = matches.length === 0 ? table.allowed(path) : []
  const list = allowed.join(', ')
  if (allowed.length > 0) exchange.failUnknown(unknownRoute, methodNotAllowed(list), ['allow', list])
  else {
    const operation = path.startsWith('/rpc/') ? unknownProcedure : unknownRoute
    exchange.failUnknown(operation, serverError('ERR_SERVER_NOT_FOUND', 'There is nothing here.'))
  }
}

/** The whole body of a request, for routes that describe it. It is read once, however many routes are asked. */
class BufferedBody {
  readonly #exchange: Exchange
  #bytes: Buffer | Promise<Buffer> | undefined

  constructor(exchange: Exchange) {
    this.#exchange = exchange
  }

  async bytes(limit: number): Promise<Buffer> {
    const { request, site } = this.#exchange
    if (this.#bytes === undefined) {
      this.#exchange.acceptBody()
      this.#bytes = readBody(request, limit, site.bodies, site.options.requestTimeout)
    }
    const bytes = await this.#bytes
    if (bytes.length > limit) throw tooLarge(limit)
    return bytes
  }
}

/** Runs one route through the pipeline, which stays open until the answer is sent. False when it is not the route's. */
async function runRoute(exchange: Exchange, match: RouteMatch, buffered: BufferedBody): Promise<boolean> {
  const { site, request, response } = exchange
  const { route, operation, timeout, params } = match
  let breached = false
  const breach = (error: Error): void => {
    if (breached) return
    breached = true
    exchange.breakOff(error)
  }
  let stopTimer: (() => void) | undefined
  try {
    return await site.host.pipeline.run(exchange.call(operation), {
      input: () => {
        const limit = route.maxRequestSize ?? site.options.maxRequestSize
        const makeRequest = (): Request =>
          toWebRequest(request, response, site.options.trustedProxies.origin(request))
        const begin = (): Request => {
          const body = limitBody(exchange, limit, breach)
          exchange.acceptBody()
          if (timeout > 0) stopTimer = startTimer(timeout, body.progressAt, breach)
          return makeRequest()
        }
        if (!describesInput(route)) return { webRequest: begin(), given: { ...undescribed, params } }
        return readDescribed(exchange, match, buffered, limit, begin)
      },
      handle: async ({ webRequest, given }, invocation) => {
        endWithSession(invocation.signal, breach)
        const context: RouteContext<unknown, Principal, unknown, unknown, unknown, unknown> = {
          ...given,
          services: site.host.services,
          principal: invocation.principal,
          client: invocation.client,
          requestId: invocation.requestId,
          signal: invocation.signal,
          logger: invocation.logger,
        }
        // The definition tied the handler's types to the services and its access rule; both have been held.
        const answer = await runHandler(request, () =>
          route.handler(webRequest, context as RouteContext<never, never, never, never, never, never>),
        )
        stopTimer?.()
        if (answer === null) return false
        if (!isResponse(answer) && route.response !== undefined) {
          const result = await checkOutput(route.response, answer)
          if (breached) return true
          if (result === undefined) exchange.sendEmpty(204)
          else exchange.sendJson(200, JSON.stringify(result))
          return true
        }
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

/** Whose session is revoked is not read from or written to any further, whatever the handler waits for. */
function endWithSession(signal: AbortSignal, breach: (error: Error) => void): void {
  const end = (): void => {
    if (isQuintetError(signal.reason) && signal.reason.kind === 'unauthenticated') breach(signal.reason)
  }
  if (signal.aborted) end()
  else signal.addEventListener('abort', end, { once: true })
}

const undescribed = { query: undefined, headers: undefined, body: undefined } as const

/** Reads what the schemas of a route describe. Where that is the body, the time of its handler begins when it has arrived. */
async function readDescribed(
  exchange: Exchange,
  { route, params }: RouteMatch,
  buffered: BufferedBody,
  limit: number,
  begin: () => Request,
): Promise<{ readonly webRequest: Request; readonly given: RouteInput }> {
  const { request } = exchange
  // A body that the handler streams is held to its limit from its first byte on.
  const streaming = route.body === undefined ? begin() : undefined
  let bytes: Buffer | undefined
  const given = await readRouteInput(route, request, params, async () => {
    bytes = await buffered.bytes(limit)
    return parseBody(request.headers, bytes)
  })
  // Hono's request takes a body that was read already from here.
  if (bytes !== undefined) Object.assign(request, { rawBody: bytes })
  return { webRequest: streaming ?? begin(), given }
}

/** A handler that fails because its client broke off the body has not failed itself. */
async function runHandler(request: IncomingMessage, handle: () => unknown): Promise<unknown> {
  try {
    return await handle()
  } catch (error) {
    if (request.complete || !request.destroyed) throw error
    throw toQuintetError(new DOMException('The client went away before its body was complete.', 'AbortError'))
  }
}

/** Ends a handler that has not answered in time; while its body still arrives, the time has not begun. */
function startTimer(timeout: number, progressAt: () => number, onLate: (error: Error) => void): () => void {
  let lookedTwice = false
  let grace: NodeJS.Immediate | undefined
  const look = (): void => {
    const left = timeout - (performance.now() - progressAt())
    if (left > 1) {
      lookedTwice = false
      timer = setTimeout(look, left)
    } else if (!lookedTwice) {
      // After a pause of the process the rest of the body may have arrived, and is read before the second look.
      lookedTwice = true
      grace = setImmediate(look)
    } else onLate(toQuintetError(new DOMException('The route took longer than its timeout.', 'TimeoutError')))
  }
  let timer = setTimeout(look, timeout)
  return () => {
    clearTimeout(timer)
    clearImmediate(grace)
  }
}

function isResponse(value: unknown): value is Response {
  return (
    typeof value === 'object' &&
    value !== null &&
    'status' in value &&
    'body' in value &&
    'headers' in value &&
    typeof (value.headers as Partial<Headers> | null)?.getSetCookie === 'function'
  )
}
