import { callProcedure, findProcedure, toQuintetError, type NamedProcedure } from '@quintet/core/kit'
import { unknownProcedure } from '../request/unknown-operations.ts'
import { serverError } from '../errors.ts'
import { toProblem } from '../problem.ts'
import type { Exchange } from '../exchange/exchange.ts'
import { methodNotAllowed, readJson } from './rpc.ts'
import { tooLarge } from '../request/read-body.ts'
import { isCallId, type CallId } from '../request/call-id.ts'

/**
 * Answers `POST /rpc`: `[{ id, method, input }]`, each a call of its own through the pipeline with the
 * credentials of the request. One that fails does not stop the others. The challenge of the first that was refused for
 * its credentials stands in the headers (RFC 9110, section 11.6.1 allows it beside any status).
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
  const counts = new Map<CallId | null, number>()
  for (const { id } of calls) counts.set(id, (counts.get(id) ?? 0) + 1)
  const answers = await Promise.all(
    calls.map((call): Promise<Answer> => {
      const { id } = call
      if (id !== null && counts.get(id) === 1) return answerCall(exchange, id, call)
      const fault = id === null ? 'holds a call without an id' : 'gives an id twice'
      return Promise.resolve(describeFailure(exchange, id, invalidBatch(fault)))
    }),
  )
  const challenge = answers.find((answer) => answer.challenge.length > 0)?.challenge
  exchange.sendJson(200, `[${answers.map(({ text }) => text).join(',')}]`, challenge)
}

/** The answer to one call of a batch. */
interface Answer {
  readonly text: string
  /** Headers, as a flat list. */
  readonly challenge: readonly string[]
}

interface BatchCall {
  /** Null when it is missing or malformed. */
  readonly id: CallId | null
  readonly method: unknown
  readonly input: unknown
}

function parseCall(value: unknown): BatchCall {
  const { id, method, input } = (typeof value === 'object' && value !== null ? value : {}) as Record<
    string,
    unknown
  >
  return { id: isCallId(id) ? id : null, method, input }
}

/** What goes wrong in one call is told to that call alone. */
async function answerCall(exchange: Exchange, id: CallId, { method, input }: BatchCall): Promise<Answer> {
  try {
    const { procedure, operation } = findOrReport(exchange, method)
    if (procedure.mode === 'stream') {
      // Who may not call is told that first, as everywhere.
      await exchange.site.host.pipeline.authorize(exchange.call(operation))
      throw serverError('ERR_SERVER_MODE_MISMATCH', 'A stream cannot be part of a batch.')
    }
    const readInput = (): unknown => {
      if (sizeOf(input) > procedure.maxInputSize) throw tooLarge(procedure.maxInputSize)
      return input
    }
    const encode = (output: unknown): string => JSON.stringify({ id, output })
    const call = exchange.call(operation)
    const text = await callProcedure(exchange.site.host, procedure, call, readInput, encode)
    return { text, challenge: [] }
  } catch (error) {
    return describeFailure(exchange, id, error)
  }
}

/** @throws QuintetError `ERR_CORE_NOT_FOUND`, which is counted. */
function findOrReport(exchange: Exchange, method: unknown): NamedProcedure {
  const { host } = exchange.site
  try {
    return findProcedure(host, method)
  } catch (error) {
    const { requestId } = exchange
    host.pipeline.reportRefused(
      { operation: unknownProcedure, requestId, statusOf: () => 404 },
      toQuintetError(error),
    )
    throw error
  }
}

function describeFailure(exchange: Exchange, id: CallId | null, error: unknown): Answer {
  const text = JSON.stringify({ id, error: toProblem(error, exchange.requestId) })
  return { text, challenge: exchange.challenge(error) }
}

function sizeOf(input: unknown): number {
  return input === undefined ? 0 : Buffer.byteLength(JSON.stringify(input))
}

function invalidBatch(reason: string): Error {
  return serverError('ERR_SERVER_BODY_INVALID', `The batch ${reason}.`)
}
