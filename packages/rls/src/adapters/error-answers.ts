import { toErrorAnswer, type ErrorAnswer } from '@quintet/core/http'
import { option, readOptions } from '@quintet/core/kit'
import { mapPostgresError } from '../sql/postgres-errors.ts'

export interface ErrorAnswerOptions {
  /** Receives what was answered with 500. @defaultValue `console.error` */
  readonly onError?: (error: unknown) => void
}

const spec = { onError: option.function<(error: unknown) => void>((error) => console.error(error)) }

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
  return (thrown) => {
    const answer = toErrorAnswer(mapPostgresError(thrown) ?? thrown)
    if (answer.status === 500) onError(thrown)
    return answer
  }
}
