import { safeErrorListener, toErrorAnswer, type ErrorAnswer, type ErrorListener } from '@quintet/core/http'
import { option, readOptions } from '@quintet/core/kit'
import { mapPostgresError } from '../sql/postgres-errors.ts'

export interface ErrorAnswerOptions {
  /** Receives what was answered with 500. What it throws or rejects with goes to `console.error`. @defaultValue `console.error` */
  readonly onError?: ErrorListener
}

const spec = { onError: option.function<ErrorListener>((error) => console.error(error)) }

/**
 * Makes the answers for handlers that throw: to an error of Quintet, or of PostgreSQL, as a problem document.
 *
 * @throws TypeError for options that are unknown or make no sense.
 */
export function createErrorAnswers(
  options: ErrorAnswerOptions,
  path: string,
): (thrown: unknown) => ErrorAnswer {
  const { onError } = readOptions<ErrorAnswerOptions, typeof spec>(options, spec, path)
  const report = safeErrorListener(onError)
  return (thrown) => {
    const answer = toErrorAnswer(mapPostgresError(thrown) ?? thrown)
    if (answer.status === 500) report(thrown)
    return answer
  }
}
