import { option, readOptions } from '@quintet/core/kit'
import { refusedByFramework, safeErrorListener, type ErrorListener } from '@quintet/core/http'
import { refuseRequest, type AuthRefusal } from './authenticator.ts'
import { realmOption } from './challenge.ts'
import type { RequestFacts } from './request-facts.ts'

export interface ErrorAnswerOptions {
  /** The `realm` of challenges. @defaultValue `'api'` */
  readonly realm?: string
  /**
   * Receives what was answered with 500, and what was thrown after the answer had begun. What it throws or rejects with
   * goes to `console.error`. @defaultValue `console.error`
   */
  readonly onError?: ErrorListener
}

/** Answers for handlers that throw. */
export interface ErrorAnswers {
  of(thrown: unknown, request: Pick<RequestFacts, 'header'>): AuthRefusal
  report(thrown: unknown): void
}

const spec = {
  realm: realmOption().optional(),
  onError: option.function<ErrorListener>((error) => console.error(error)),
}

/** @throws TypeError for options that are unknown or make no sense. */
export function createErrorAnswers(options: ErrorAnswerOptions, path: string): ErrorAnswers {
  const { onError, realm } = readOptions<ErrorAnswerOptions, typeof spec>(options, spec, path)
  const report = safeErrorListener(onError)
  return {
    of(thrown, request) {
      const answer = refusedByFramework(thrown) ?? refuseRequest(thrown, request, realm)
      if (answer.status === 500) report(thrown)
      return answer
    },
    report,
  }
}
