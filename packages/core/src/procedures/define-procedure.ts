import { accessOption } from '../access/access-option.ts'
import type { AccessRule, PrincipalFor } from '../access/access-rule.ts'
import { parseDuration } from '../options/duration.ts'
import { option } from '../options/options.ts'
import { readOptions } from '../options/read-options.ts'
import { schemaOption } from '../options/schema-option.ts'
import { atCallSite } from './call-site.ts'
import type { Procedure, ProcedureCall, ProcedureOptions } from './procedure.ts'
import type { Schema, SchemaInput, SchemaOutput } from './schema.ts'

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
  readonly resumable?: never
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
  /**
   * Declares that the handler goes on after `lastEventId`. Clients then take the stream up again after its last event
   * when their connection breaks, by the event's own member `id`; without it they end with the error, because a handler
   * that begins anew would repeat its events. @defaultValue false
   */
  readonly resumable?: boolean
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

const procedureSpec = {
  access: accessOption(),
  description: option.text('', { pattern: /^/, expected: 'a text' }),
  timeout: option.duration().optional(),
  maxInputSize: option.size(procedureDefaults.maxInputSize),
  freshness: option.oneOf(['strict']).optional(),
  safe: option.boolean(false),
  resumable: option.boolean(false),
  input: schemaOption().optional(),
  output: schemaOption().optional(),
  stream: schemaOption().optional(),
}

interface AnyOptions extends ProcedureOptions<AccessRule> {
  readonly input?: Schema | undefined
  readonly output?: Schema | undefined
  readonly stream?: Schema | undefined
  readonly resumable?: boolean | undefined
}

/**
 * Defines one callable operation: who may call it, what it takes and gives, and its handler.
 *
 * With `stream`, the handler is an async generator and the schema is that of each event.
 *
 * @throws TypeError when it declares no access rule, or an option that is unknown or makes no sense.
 */
export const procedure: DefineProcedure<unknown> = ((options: AnyOptions, handler: Procedure['handler']) =>
  atCallSite(() => makeProcedure(options, handler))) as DefineProcedure<unknown>

function makeProcedure(given: AnyOptions, handler: Procedure['handler']): Procedure {
  if (typeof given !== 'object' || given === null)
    throw new TypeError('procedure: needs options and a handler.')
  if (typeof handler !== 'function') throw new TypeError('procedure: needs a handler as its second argument.')
  const options = readOptions<AnyOptions, typeof procedureSpec>(given, procedureSpec, 'procedure', {
    check({ stream, output, resumable }, note) {
      if (resumable && stream === undefined) note('resumable', 'only a stream can be resumed.')
      if (stream !== undefined && output !== undefined)
        note('', 'has both output and stream. A stream is described by stream alone.')
      if (stream === undefined && isAsyncGeneratorFunction(handler))
        note('', 'the handler is an async generator, so stream must name the schema of its events.')
    },
  })
  const streams = options.stream !== undefined
  const timeout = streams ? procedureDefaults.streamTimeout : procedureDefaults.timeout
  return Object.freeze({
    mode: streams ? 'stream' : 'call',
    access: options.access,
    description: options.description,
    timeout: options.timeout ?? parseDuration(timeout),
    maxInputSize: options.maxInputSize,
    freshness: options.freshness,
    safe: options.safe,
    resumable: options.resumable,
    input: options.input,
    output: options.stream ?? options.output,
    handler,
  })
}

function isAsyncGeneratorFunction(value: object): boolean {
  return Object.prototype.toString.call(value) === '[object AsyncGeneratorFunction]'
}
