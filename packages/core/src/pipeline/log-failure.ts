import type { ErrorKind, QuintetError } from '../errors.ts'
import type { Logger } from '../logging/logger.ts'
import type { PipelineCall } from './pipeline-call.ts'

/** How loud each kind of failure is. What a caller did wrong is not our alarm. */
const levels: Readonly<Record<ErrorKind, 'debug' | 'info' | 'warn' | 'error'>> = {
  'invalid-input': 'debug',
  'not-found': 'debug',
  conflict: 'debug',
  canceled: 'debug',
  'too-large': 'debug',
  unsupported: 'debug',
  unauthenticated: 'info',
  forbidden: 'info',
  'rate-limited': 'info',
  closed: 'info',
  timeout: 'warn',
  unavailable: 'warn',
  internal: 'error',
}

/** Writes the one line of a failed call. An internal failure carries what was really thrown. */
export function logFailure(
  logger: Logger,
  call: PipelineCall,
  failure: QuintetError,
  durationMs: number,
): void {
  const fields: Record<string, unknown> = {
    requestId: call.requestId,
    operation: call.operation.name,
    surface: call.operation.surface,
    tenantId: call.principal.tenantId,
    userId: call.principal.userId,
    code: failure.code,
    kind: failure.kind,
    durationMs,
  }
  if (failure.kind === 'internal') fields['err'] = failure.cause ?? failure
  else if (failure.cause instanceof Error) fields['cause'] = failure.cause.message
  logger[levels[failure.kind] ?? 'error'](fields, failure.message)
}
