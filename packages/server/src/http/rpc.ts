import type { QuintetError } from '@quintet/core'
import type { IncomingHttpHeaders } from 'node:http'
import { callProcedure, type NamedProcedure, streamProcedure } from '@quintet/core/kit'
import { serverError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { fromEventIdHeader } from '../streams/event-id.ts'
import { encodeEvent, sendEvents } from '../exchange/event-stream.ts'
import type { Exchange } from '../exchange/exchange.ts'
import { readQueryInput, refuseForeignPages } from '../request/query-input.ts'
import { readBody } from '../request/read-body.ts'

/** Answers `POST /rpc/<service>/<procedure>`, and `GET` where the procedure is declared safe. The body is read straight off the connection, and only for a caller who may call. */
export function answerRpc(exchange: Exchange, { procedure, operation }: NamedProcedure): Promise<void> {
  const { host } = exchange.site
  const { method } = exchange.request
  // HEAD asks for the head of an answer alone (RFC 9110, section 9.3.2), which a stream has none of by itself.
  const isHead = method === 'HEAD' && procedure.mode === 'call'
  const bySafeMethod = procedure.safe && (method === 'GET' || isHead)
  if (method !== 'POST' && !bySafeMethod) {
    const safe = procedure.mode === 'call' ? 'GET, HEAD, POST' : 'GET, POST'
    const allowed = procedure.safe ? safe : 'POST'
    exchange.fail(methodNotAllowed(allowed), ['allow', allowed])
    return Promise.resolve()
  }
  if (bySafeMethod) refuseForeignPages(exchange.request, exchange.site.options.cors)
  const call = exchange.call(operation, procedure.mode === 'stream')
  const readInput = (): unknown =>
    bySafeMethod
      ? readQueryInput(exchange.request, procedure.maxInputSize, procedure.input !== undefined)
      : readJson(exchange, procedure.maxInputSize, procedure.input !== undefined)
  if (procedure.mode === 'stream') {
    const lastEventId = exchange.request.headers['last-event-id']
    return sendEvents(exchange, (onBegin) =>
      streamProcedure(host, procedure, call, readInput, {
        onBegin,
        encode: (event) => encodeEvent(event, procedure.resumable),
        lastEventId: typeof lastEventId === 'string' ? fromEventIdHeader(lastEventId) : undefined,
      }),
    )
  }
  const encode = (result: unknown): string | undefined => {
    const text = JSON.stringify(result) as string | undefined
    if (text === undefined) call.success = 204
    return text
  }
  return callProcedure(host, procedure, call, readInput, encode).then((text) => {
    if (text === undefined) exchange.sendEmpty(204, bySafeMethod ? ['cache-control', 'no-store'] : [])
    else exchange.sendJson(200, text)
  })
}

/**
 * Reads the JSON body of a request; undefined for an empty one.
 *
 * @throws QuintetError `ERR_SERVER_MEDIA_TYPE_UNSUPPORTED`, `ERR_SERVER_TOO_LARGE`, `ERR_SERVER_BODY_INVALID`,
 *   `ERR_SERVER_REQUEST_TIMEOUT`.
 */
export function readJson(exchange: Exchange, limit: number, wanted: boolean): unknown {
  const { request, site } = exchange
  exchange.acceptBody()
  const body = readBody(request, limit, site.bodies, site.options.requestTimeout)
  const { headers } = request
  return body instanceof Promise
    ? body.then((arrived) => parseBody(headers, arrived, wanted))
    : parseBody(headers, body, wanted)
}

/** The value of a JSON body; undefined for an empty one, and for one that is not wanted. */
export function parseBody(headers: IncomingHttpHeaders, body: Buffer, wanted = true): unknown {
  if (body.length === 0) return undefined
  checkContent(headers)
  return wanted ? parseJson(body) : undefined
}

const jsonType = /^application\/json(?:\s*;\s*charset="?utf-?8"?)?\s*$/i

function checkContent(headers: IncomingHttpHeaders): void {
  const type = headers['content-type']
  const coding = headers['content-encoding']
  if (type !== 'application/json' && (type === undefined || !jsonType.test(type))) {
    throw serverError('ERR_SERVER_MEDIA_TYPE_UNSUPPORTED', 'The body must be application/json in UTF-8.')
  }
  if (coding !== undefined && coding !== 'identity') {
    throw serverError('ERR_SERVER_MEDIA_TYPE_UNSUPPORTED', 'The body must not be compressed.')
  }
}

export function methodNotAllowed(allowed: string): QuintetError {
  return serverError('ERR_SERVER_METHOD_NOT_ALLOWED', `This answers to ${allowed} only.`)
}
