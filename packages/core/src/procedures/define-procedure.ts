import { assertAccessRule, type AccessRule, type PrincipalFor } from '../access/access-rule.ts'
import { parseDuration } from '../options/duration.ts'
import { refuseUnknownKeys } from '../options/known-keys.ts'
import type { Procedure, ProcedureCall, ProcedureOptions } from './procedure.ts'
import type { Schema, SchemaInput, SchemaOutput } from './schema.ts'
import { parseSize } from '../options/size.ts'

/** What applies where {@link ProcedureOptions} says nothing. */
export const procedureDefaults = {
  timeout: '30s',
  streamTimeout: 0,
  maxInputSize: '1mb',
} as const

/** A procedure that answers once. */
export interface CallProcedureOptions<
  Access extends AccessRule,
  Input extends Schema | undefined,
  Output extends Schema | undefined,
> extends ProcedureOptions<Access> {
  readonly input?: Input
  /** Holds the handler to what the contract says; a result that does not fit is an internal error. */
  readonly output?: Output
  readonly stream?: never
}

/** A procedure that answers with a sequence of events. */
export interface StreamProcedureOptions<
  Access extends AccessRule,
  Input extends Schema | undefined,
  Item extends Schema,
> extends ProcedureOptions<Access> {
  readonly input?: Input
  readonly output?: never
  /** The schema of each event. */
  readonly stream: Item
}

/** What a handler gets for an input schema: the parsed value, or undefined without a schema. */
export type HandlerInput<Input extends Schema | undefined> = Input extends Schema
  ? SchemaOutput<Input>
  : undefined

/** What a client sends for an input schema; nothing without one. */
export type ClientInput<Input extends Schema | undefined> = Input extends Schema ? SchemaInput<Input> : void

/** What a handler must return under an output schema; anything without one. */
type HandlerOutput<Output extends Schema | undefined, Result> = Output extends Schema
  ? SchemaInput<Output>
  : Result

/** What a client receives: what the output schema makes of the result, or the result itself. */
type ClientOutput<Output extends Schema | undefined, Result> = Output extends Schema
  ? SchemaOutput<Output>
  : Result

/** The `procedure` function, with the type of `services` that its handlers get. */
export interface DefineProcedure<Services> {
  <const Access extends AccessRule, Item extends Schema, Input extends Schema | undefined = undefined>(
    options: StreamProcedureOptions<Access, Input, Item>,
    handler: (
      call: ProcedureCall<HandlerInput<Input>, Services, PrincipalFor<Access>>,
    ) => AsyncIterable<SchemaInput<Item>>,
  ): Procedure<ClientInput<Input>, SchemaOutput<Item>, 'stream'>
  <
    const Access extends AccessRule,
    Result,
    Input extends Schema | undefined = undefined,
    Output extends Schema | undefined = undefined,
  >(
    options: CallProcedureOptions<Access, Input, Output>,
    handler: (
      call: ProcedureCall<HandlerInput<Input>, Services, PrincipalFor<Access>>,
    ) => Promise<HandlerOutput<Output, Result>> | HandlerOutput<Output, Result>,
  ): Procedure<ClientInput<Input>, ClientOutput<Output, Result>, 'call'>
}

const knownKeys = [
  'access',
  'description',
  'timeout',
  'maxInputSize',
  'freshness',
  'input',
  'output',
  'stream',
]

interface AnyOptions extends ProcedureOptions<AccessRule> {
  readonly input?: Schema | undefined
  readonly output?: Schema | undefined
  readonly stream?: Schema | undefined
}

/**
 * Defines one callable operation: who may call it, what it takes and gives, and its handler.
 *
 * With `stream`, the handler is an async generator and the schema is that of each event.
 *
 * @throws TypeError when it declares no access rule, or an option that is unknown or makes no sense.
 */
export const procedure: DefineProcedure<unknown> = ((options: AnyOptions, handler: Procedure['handler']) =>
  makeProcedure(options, handler)) as DefineProcedure<unknown>

function makeProcedure(options: AnyOptions, handler: Procedure['handler']): Procedure {
  if (typeof options !== 'object' || options === null)
    throw new TypeError('procedure: needs options and a handler.')
  refuseUnknownKeys(options, knownKeys, 'procedure')
  assertAccessRule(options.access, 'procedure')
  if (typeof handler !== 'function') throw new TypeError('procedure: needs a handler as its second argument.')
  for (const key of ['input', 'output', 'stream'] as const) assertSchema(options[key], `procedure.${key}`)
  if (options.freshness !== undefined && options.freshness !== 'strict') {
    throw new TypeError(
      `procedure.freshness: ${JSON.stringify(options.freshness)} must be 'strict' or left out.`,
    )
  }
  if (options.stream !== undefined && options.output !== undefined) {
    throw new TypeError('procedure: has both output and stream. A stream is described by stream alone.')
  }
  if (options.stream === undefined && isAsyncGeneratorFunction(handler)) {
    throw new TypeError(
      'procedure: the handler is an async generator, so stream must name the schema of its events.',
    )
  }
  const streams = options.stream !== undefined
  const timeout = options.timeout ?? (streams ? procedureDefaults.streamTimeout : procedureDefaults.timeout)
  return Object.freeze({
    mode: streams ? 'stream' : 'call',
    access: options.access,
    description: options.description ?? '',
    timeout: parseDuration(timeout, 'procedure.timeout'),
    maxInputSize: parseSize(options.maxInputSize ?? procedureDefaults.maxInputSize, 'procedure.maxInputSize'),
    freshness: options.freshness,
    input: options.input,
    output: options.stream ?? options.output,
    handler,
  })
}

function assertSchema(schema: unknown, path: string): void {
  if (schema === undefined) return
  const isObject = (typeof schema === 'object' && schema !== null) || typeof schema === 'function'
  if (isObject && '~standard' in schema) return
  throw new TypeError(
    `${path}: is not a Standard Schema. Give one of zod, valibot, arktype or another library that implements it.`,
  )
}

function isAsyncGeneratorFunction(value: object): boolean {
  return Object.prototype.toString.call(value) === '[object AsyncGeneratorFunction]'
}
