// The small entry: the supervisor loads nothing else of the apps' framework.
import { QuintetError } from '@quintet/core/client'
import { codeFrame } from './code-frame.ts'

/** The codes of errors that the supervisor, the runner and the command line report. */
export type OrchestratorErrorCode =
  | 'ERR_ORCHESTRATOR_ALREADY_RUNNING'
  | 'ERR_ORCHESTRATOR_BAD_COMMAND'
  | 'ERR_ORCHESTRATOR_CONFIG_INVALID'
  | 'ERR_ORCHESTRATOR_CONTROL_FAILED'
  | 'ERR_ORCHESTRATOR_NOT_RUNNING'
  | 'ERR_ORCHESTRATOR_PORT_IN_USE'
  | 'ERR_ORCHESTRATOR_PROVISION_FAILED'
  | 'ERR_ORCHESTRATOR_START_FAILED'
  | 'ERR_ORCHESTRATOR_STATE_DIRECTORY'
  | 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS'

/** A failure on which the operator has to act. The message says what failed, where and what to do. */
export class OrchestratorError extends QuintetError<OrchestratorErrorCode> {
  declare readonly kind: OrchestratorErrorKind

  constructor(
    message: string,
    options: {
      readonly code: OrchestratorErrorCode
      readonly kind: OrchestratorErrorKind
      readonly cause?: unknown
      readonly details?: Readonly<Record<string, unknown>>
    },
  ) {
    super(message, options)
  }
}

/** A command line, or a variable that stands for one, that asks for what there is not. */
export function badCommand(message: string, cause?: unknown): OrchestratorError {
  return new OrchestratorError(message, {
    code: 'ERR_ORCHESTRATOR_BAD_COMMAND',
    kind: 'invalid-input',
    ...(cause === undefined ? {} : { cause }),
  })
}

/** Whether an error has the code: of this package, of another one, or of the operating system. */
export function isCode(error: unknown, code: string): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === code
}

type OrchestratorErrorKind = 'invalid-input' | 'not-found' | 'conflict' | 'unavailable'

/**
 * An error in one line or a few, as people read it at a prompt: the message with its place in the code where there is
 * one, and the causes that add something.
 */
export function describeError(error: unknown): string {
  const parts: string[] = []
  for (let current: unknown = error; current !== undefined && parts.length < 4;) {
    const message = current instanceof Error ? current.message || current.name : String(current)
    if (!parts.some((part) => part.includes(message))) parts.push(message)
    const frame = current instanceof Error ? codeFrame(current) : undefined
    if (frame !== undefined && !parts.some((part) => part.includes(frame)))
      parts.push(`${parts.pop()}\n${frame}`)
    current = current instanceof Error ? current.cause : undefined
  }
  return parts.join('\n  because: ')
}
