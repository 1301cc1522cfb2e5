import { isQuintetError, toQuintetError } from '../errors.ts'
import { problemHeaders, titleOf, toProblem } from './problem.ts'

/** The answer to a handler that threw, ready to be sent. */
export interface ErrorAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  /** `application/problem+json` (RFC 9457). */
  readonly body: string
}

/**
 * The answer to whatever a handler of another framework threw: what the framework itself refused with its status, an
 * error of Quintet as a problem document, anything else with 500 and without a word of it.
 */
export function toErrorAnswer(thrown: unknown): ErrorAnswer {
  const refused = refusedByFramework(thrown)
  if (refused !== undefined) return refused
  const problem = toProblem(toQuintetError(thrown))
  return { status: problem.status, headers: problemHeaders(problem), body: JSON.stringify(problem) }
}

/** What a framework itself has refused with a status of its own, such as a body that is no JSON. */
export function refusedByFramework(thrown: unknown): ErrorAnswer | undefined {
  if (!(thrown instanceof Error) || isQuintetError(thrown)) return undefined
  const { statusCode, status = statusCode, expose, code } = thrown as FrameworkError
  // Fastify marks its errors by their codes, Express (http-errors) those whose message a caller may see.
  const isOurs = expose === true || (typeof code === 'string' && code.startsWith('FST_'))
  if (!isOurs || typeof status !== 'number' || !(status >= 400 && status < 500)) return undefined
  const problem = { type: 'about:blank', title: titleOf(status), status, detail: thrown.message }
  return {
    status,
    headers: { 'content-type': 'application/problem+json', 'cache-control': 'no-store' },
    body: JSON.stringify(problem),
  }
}

interface FrameworkError {
  readonly status?: unknown
  readonly statusCode?: unknown
  readonly expose?: unknown
  readonly code?: unknown
}
