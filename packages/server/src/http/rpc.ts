import { callProcedure, streamProcedure, type NamedProcedure } from '@quintet/core'
import { serverError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { sendEvents } from './event-stream.ts'
import type { Exchange } from './exchange.ts'
import { readBody } from './read-body.ts'

/** Answers `POST /rpc/<service>/<procedure>`. The body is read straight off the connection, and only for a caller who may call. */
export async function answerRpc(exchange: Exchange, { procedure, operation }: NamedProcedure): Promise<void> {
  const { host } = exchange.site
  if (exchange.request.method !== 'POST') {
    exchange.fail(methodNotAllowed('POST'), ['allow', 'POST'])
    return
  }
  const call = exchange.call(operation)
  const readInput = (): Promise<unknown> =>
    readJson(exchange, procedure.maxInputSize, procedure.input !== undefined)
  if (procedure.mode === 'stream') {
    const lastEventId = exchange.request.headers['last-event-id']
    await sendEvents(exchange, (onBegin) =>
      streamProcedure(
        host,
        procedure,
        call,
        () => readInput().then(onBegin),
        typeof lastEventId === 'string' ? lastEventId : undefined,
      ),
    )
    return
  }
  const result = await callProcedure(host, procedure, call, readInput)
  if (result === undefined) exchange.sendEmpty(204)
  else exchange.sendJson(200, JSON.stringify(result))
}

/**
 * Reads the JSON body of a request; undefined for an empty one.
 *
 * @throws QuintetError `ERR_SERVER_MEDIA_TYPE_UNSUPPORTED`, `ERR_SERVER_TOO_LARGE`, `ERR_SERVER_BODY_INVALID`,
 *   `ERR_SERVER_REQUEST_TIMEOUT`.
 */
export async function readJson(exchange: Exchange, limit: number, wanted: boolean): Promise<unknown> {
  const { request, site } = exchange
  exchange.acceptBody()
  const body = await readBody(request, limit, site.bodies, site.options.requestTimeout)
  if (body.length === 0) return undefined
  checkContentType(request.headers['content-type'])
  if (
    request.headers['content-encoding'] !== undefined &&
    request.headers['content-encoding'] !== 'identity'
  ) {
    throw serverError('ERR_SERVER_MEDIA_TYPE_UNSUPPORTED', 'The body must not be compressed.')
  }
  return wanted ? parseJson(body) : undefined
}

const jsonType = /^application\/json(?:\s*;\s*charset="?utf-?8"?)?\s*$/i

function checkContentType(type: string | undefined): void {
  if (type === 'application/json' || (type !== undefined && jsonType.test(type))) return
  throw serverError('ERR_SERVER_MEDIA_TYPE_UNSUPPORTED', 'The body must be application/json in UTF-8.')
}

export function methodNotAllowed(allowed: string): Error {
  return serverError('ERR_SERVER_METHOD_NOT_ALLOWED', `This answers to ${allowed} only.`)
}
