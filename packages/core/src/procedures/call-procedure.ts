import { QuintetError } from '../errors.ts'
import type { ClientInfo } from '../pipeline/client-info.ts'
import type { Invocation } from '../pipeline/invocation.ts'
import type { Logger } from '../logging/logger.ts'
import type { IncomingCall, Pipeline } from '../pipeline/pipeline.ts'
import type { Principal } from '../access/principal.ts'
import { validate, validateAbsent, type Schema } from './schema.ts'
import type { NamedProcedure } from './service.ts'
import type { Procedure, ProcedureCall } from './procedure.ts'

/** The part of a transport's host that calling a procedure needs. */
export interface ProcedureHost {
  readonly pipeline: Pipeline
  readonly procedures: ReadonlyMap<string, NamedProcedure>
  readonly services: unknown
}

/**
 * Finds a procedure by the name that a caller gave.
 *
 * @throws QuintetError `ERR_CORE_NOT_FOUND`.
 */
export function findProcedure(host: Pick<ProcedureHost, 'procedures'>, name: unknown): NamedProcedure {
  const named = typeof name === 'string' ? host.procedures.get(name) : undefined
  if (named !== undefined) return named
  throw new QuintetError('There is no such procedure.', { code: 'ERR_CORE_NOT_FOUND', kind: 'not-found' })
}

/**
 * Calls a procedure through the pipeline: the one implementation behind every RPC surface.
 *
 * `readInput` gives the value as it came over the wire; it runs only for a caller who may call, and what it
 * gives is validated. A result that does not fit the output schema is an internal error. `encode` makes the answer of a
 * result as part of the call, so that one which cannot be sent is logged and counted as what it is: a failed call.
 */
export function callProcedure<Answer = unknown>(
  host: Pick<ProcedureHost, 'pipeline' | 'services'>,
  procedure: Procedure,
  call: IncomingCall,
  readInput: () => unknown,
  encode?: (result: unknown) => Answer,
): Promise<Answer> {
  return host.pipeline.run(call, {
    input: () => parseInput(procedure, readInput),
    handle: (input, invocation) => {
      const result = invoke(procedure, new HandlerCall(input, host.services, invocation, undefined))
      // There is nothing to be done with the result, and nothing to be waited for.
      if (procedure.output === undefined && encode === undefined) return result as Promise<Answer> | Answer
      if (!(result instanceof Promise)) return answer(procedure, result, encode)
      return result.then((value) => answer(procedure, value, encode))
    },
  })
}

function answer<Answer>(
  { output }: Procedure,
  result: unknown,
  encode: (result: unknown) => Answer = (value) => value as Answer,
): Answer | Promise<Answer> {
  const checked = checkOutput(output, result)
  return checked instanceof Promise ? checked.then(encode) : encode(checked)
}

/** What a surface does with a stream, and what it begins after. */
export interface StreamSteps<Item> {
  /** The id of the last event that the client saw. */
  readonly lastEventId?: string | undefined
  /** Called once the input has been found valid and the handler has begun, before its first event. */
  readonly onBegin?: () => void
  readonly encode?: (event: unknown) => Item
}

/** As {@link callProcedure}, for a procedure with `mode: 'stream'`. Each event is checked and encoded as a result is. */
export function streamProcedure<Item = unknown>(
  host: Pick<ProcedureHost, 'pipeline' | 'services'>,
  procedure: Procedure,
  call: IncomingCall,
  readInput: () => unknown,
  { lastEventId, onBegin, encode = (event) => event as Item }: StreamSteps<Item> = {},
): AsyncGenerator<Item, void, undefined> {
  return host.pipeline.stream(call, {
    input: () => parseInput(procedure, readInput),
    handle: (input, invocation) => {
      const events = invoke(procedure, new HandlerCall(input, host.services, invocation, lastEventId))
      onBegin?.()
      return checkEvents(procedure, events, encode)
    },
  })
}

/** What a handler gets. The signal and the logger are made when it asks for them. */
class HandlerCall implements ProcedureCall<unknown, unknown> {
  readonly input: unknown
  readonly services: unknown
  readonly lastEventId: string | undefined
  readonly #invocation: Invocation

  constructor(input: unknown, services: unknown, invocation: Invocation, lastEventId: string | undefined) {
    this.input = input
    this.services = services
    this.lastEventId = lastEventId
    this.#invocation = invocation
  }

  get principal(): Principal {
    return this.#invocation.principal
  }

  get client(): ClientInfo {
    return this.#invocation.client
  }

  get requestId(): string {
    return this.#invocation.requestId
  }

  get signal(): AbortSignal {
    return this.#invocation.signal
  }

  get deadline(): number | null {
    return this.#invocation.deadline
  }

  get logger(): Logger {
    return this.#invocation.logger
  }
}

function invoke(procedure: Procedure, call: HandlerCall): unknown {
  // The definition tied the handler's types to its schemas and its access rule; both have been held here.
  const handler = procedure.handler as (call: ProcedureCall<unknown, unknown>) => unknown
  return handler(call)
}

function parseInput(procedure: Procedure, readInput: () => unknown): unknown {
  const raw = readInput()
  if (procedure.input === undefined) return raw instanceof Promise ? raw.then(() => undefined) : undefined
  const schema = procedure.input
  return raw instanceof Promise
    ? raw.then((value) => validateInput(schema, value))
    : validateInput(schema, raw)
}

/** An input that is not given is an object without members, where the schema wants an object. */
function validateInput(schema: Schema, raw: unknown): unknown {
  return raw === undefined ? validateAbsent(schema) : validate(schema, raw)
}

/**
 * Holds what a handler returned to its schema.
 *
 * @throws QuintetError `ERR_CORE_INTERNAL`.
 */
export function checkOutput(schema: Schema | undefined, value: unknown): unknown {
  if (schema === undefined) return value
  try {
    const checked = validate(schema, value)
    return checked instanceof Promise ? checked.catch(refuseOutput) : checked
  } catch (error) {
    return refuseOutput(error)
  }
}

function refuseOutput(error: unknown): never {
  throw new QuintetError('Something failed on our side.', {
    code: 'ERR_CORE_INTERNAL',
    kind: 'internal',
    cause: new Error('The handler returned a value that its output schema refuses.', { cause: error }),
  })
}

async function* checkEvents<Item>(
  procedure: Procedure,
  events: unknown,
  encode: (event: unknown) => Item,
): AsyncGenerator<Item, void, undefined> {
  for await (const event of events as AsyncIterable<unknown>) yield await answer(procedure, event, encode)
}
