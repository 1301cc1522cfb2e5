import { callProcedure, findProcedure } from '@quintet/core/kit'
import { serverError } from '../errors.ts'
import { toProblem, type Problem } from '../problem.ts'
import type { Exchange } from './exchange.ts'
import { methodNotAllowed, readJson } from './rpc.ts'
import { tooLarge } from './read-body.ts'

interface BatchAnswer {
  readonly id: string | number
  readonly output?: unknown
  readonly error?: Problem
}

/**
 * Answers `POST /rpc`: `[{ id, method, input }]`, each a call of its own through the pipeline with the
 * credentials of the request. One that fails does not stop the others.
 */
export async function answerBatch(exchange: Exchange): Promise<void> {
  const { options } = exchange.site
  if (exchange.request.method !== 'POST') {
    exchange.fail(methodNotAllowed('POST'), ['allow', 'POST'])
    return
  }
  const body = await readJson(exchange, options.maxBatchSize, true)
  if (!Array.isArray(body)) throw invalidBatch('must be a list of calls')
  if (body.length > options.maxBatchCalls) {
    throw serverError(
      'ERR_SERVER_BATCH_TOO_LARGE',
      `A batch holds at most ${String(options.maxBatchCalls)} calls.`,
      {
        details: { limit: options.maxBatchCalls },
      },
    )
  }
  const calls = body.map(parseCall)
  if (new Set(calls.map(({ id }) => id)).size !== calls.length) throw invalidBatch('gives an id twice')
  const answers = await Promise.all(calls.map((call) => answerCall(exchange, call)))
  exchange.sendJson(200, JSON.stringify(answers))
}

interface BatchCall {
  readonly id: string | number
  readonly method: unknown
  readonly input: unknown
}

function parseCall(value: unknown): BatchCall {
  if (typeof value !== 'object' || value === null) throw invalidBatch('must be a list of calls')
  const { id, method, input } = value as Record<string, unknown>
  if (typeof id !== 'string' && typeof id !== 'number') throw invalidBatch('holds a call without an id')
  return { id, method, input }
}

async function answerCall(exchange: Exchange, { id, method, input }: BatchCall): Promise<BatchAnswer> {
  try {
    const { procedure, operation } = findProcedure(exchange.site.host, method)
    if (procedure.mode === 'stream') {
      // Who may not call is told that first, as everywhere.
      await exchange.site.host.pipeline.authorize(exchange.call(operation))
      throw serverError('ERR_SERVER_MODE_MISMATCH', 'A stream cannot be part of a batch.')
    }
    const output = await callProcedure(exchange.site.host, procedure, exchange.call(operation), () => {
      if (sizeOf(input) > procedure.maxInputSize) throw tooLarge(procedure.maxInputSize)
      return input
    })
    return { id, output }
  } catch (error) {
    return { id, error: toProblem(error, exchange.requestId) }
  }
}

function sizeOf(input: unknown): number {
  return input === undefined ? 0 : Buffer.byteLength(JSON.stringify(input))
}

function invalidBatch(reason: string): Error {
  return serverError('ERR_SERVER_BODY_INVALID', `The batch ${reason}.`)
}
