import { anonymous, type Principal } from '../access/principal.ts'
import { noCredentials } from '../access/credentials.ts'
import {
  callProcedure,
  findProcedure,
  streamProcedure,
  type ProcedureHost,
} from '../procedures/call-procedure.ts'
import type { Procedure } from '../procedures/procedure.ts'
import type { Service } from '../procedures/service.ts'

export interface CallAppOptions {
  /** For whom the call is made; it is taken as authenticated. @defaultValue an anonymous caller */
  readonly principal?: Principal
  /** Aborts when the caller goes away. @defaultValue never */
  readonly signal?: AbortSignal
  /** For a stream: the id of the event after which it goes on. */
  readonly lastEventId?: string
}

type InputOf<P> = P extends Procedure<infer Input> ? Input : never

/** A promise of the result, or for a stream its events. */
type AnswerOf<P> =
  P extends Procedure<unknown, infer Output, infer Mode>
    ? Mode extends 'stream'
      ? AsyncGenerator<Output, void, undefined>
      : Promise<Output>
    : never

/**
 * Calls a procedure of an app, or of a test host, through its pipeline, as a test does: access rule, schemas, wrappers
 * and deadlines hold as over any transport. Values are handed over as they are, without passing through JSON.
 *
 * @throws QuintetError what the call is answered with; `ERR_CORE_NOT_FOUND` when the app has no such procedure.
 *
 * @example
 * const page = await callApp(app, objects, 'list', { limit: 10 }, { principal: testUser({ userId: 'ann' }) })
 */
export function callApp<S extends Service, const Name extends keyof S['procedures'] & string>(
  app: ProcedureHost,
  service: S,
  name: Name,
  input: InputOf<S['procedures'][Name]>,
  { principal = anonymous, signal, lastEventId }: CallAppOptions = {},
): AnswerOf<S['procedures'][Name]> {
  const { procedure, operation } = findProcedure(app, `${service.name}.${name}`)
  const call = {
    operation,
    credentials:
      principal.kind === 'anonymous'
        ? noCredentials
        : ({ scheme: 'attested', principal, by: 'in-process' } as const),
    requestId: crypto.randomUUID(),
    signal: signal ?? new AbortController().signal,
  }
  const answer =
    procedure.mode === 'stream'
      ? streamProcedure(app, procedure, call, () => input, { lastEventId })
      : callProcedure(app, procedure, call, () => input)
  return answer as AnswerOf<S['procedures'][Name]>
}
