import type { AccessRule } from '../access/access-rule.ts'
import type { Duration } from '../options/duration.ts'
import type { Logger } from '../logging/logger.ts'
import type { Principal } from '../access/principal.ts'
import type { ClientInfo } from '../pipeline/client-info.ts'
import type { Schema } from './schema.ts'
import type { Size } from '../options/size.ts'

/** What a procedure's handler gets. */
export interface ProcedureCall<Input, Services, Caller extends Principal = Principal> {
  readonly input: Input
  readonly services: Services
  readonly principal: Caller
  /** Where the call comes from. */
  readonly client: ClientInfo
  readonly requestId: string
  readonly signal: AbortSignal
  /** Milliseconds since the epoch; null for no limit. */
  readonly deadline: number | null
  readonly logger: Logger
  /** For a resumed stream: the id of the last event that the client saw. */
  readonly lastEventId: string | undefined
}

export interface ProcedureOptions<Access extends AccessRule> {
  readonly access: Access
  /** One sentence for `quintet routes` and the OpenAPI document. */
  readonly description?: string
  /** @defaultValue `'30s'` for calls, none for streams */
  readonly timeout?: Duration
  /** The largest request body. @defaultValue `'1mb'` */
  readonly maxInputSize?: Size
  /**
   * Demand a session read on every call, also where the auth manager is in tracked mode. With `access: 'public'` it also
   * refuses credentials that do not verify, which elsewhere make an anonymous caller.
   */
  readonly freshness?: 'strict'
  /**
   * Declares the handler safe (RFC 9110 section 9.2.1): it changes nothing. It can then be called with GET too, with its
   * input in the query, as `EventSource` does. @defaultValue false
   */
  readonly safe?: boolean
}

/**
 * One callable operation of a service. `ClientInput` and `ClientOutput` are what a client sends and gets;
 * they exist only as types.
 */
export interface Procedure<
  ClientInput = unknown,
  ClientOutput = unknown,
  Mode extends 'call' | 'stream' = 'call' | 'stream',
> {
  readonly mode: Mode
  readonly access: AccessRule
  readonly description: string
  /** Milliseconds; 0 for none. */
  readonly timeout: number
  /** Bytes. */
  readonly maxInputSize: number
  readonly freshness: 'strict' | undefined
  /** Whether it changes nothing, so that it may be called with GET. */
  readonly safe: boolean
  /** Whether a stream goes on after the event that a client saw last. */
  readonly resumable: boolean
  readonly input: Schema | undefined
  /** The schema of the result, or of each event of a stream. */
  readonly output: Schema | undefined
  readonly handler: (call: ProcedureCall<never, never, never>) => unknown
  /** Never set: carries the client's types. */
  readonly '~client'?: { readonly input: ClientInput; readonly output: ClientOutput }
}

export type Procedures = Readonly<Record<string, Procedure>>
