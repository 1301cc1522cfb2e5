import type { Clock } from '../clock.ts'
import type { QuintetError } from '../errors.ts'
import type { AuthManager, SessionEnd } from '../access/auth-manager.ts'
import type { Challenge } from '../access/challenge.ts'
import type { Credentials } from '../access/credentials.ts'
import type { ClientInfo } from './client-info.ts'
import type { Invocation, InvocationObserver, InvocationWrapper } from './invocation.ts'
import type { Logger } from '../logging/logger.ts'
import type { Operation } from './operation.ts'
import type { Principal } from '../access/principal.ts'

/** A call as a surface hands it in: which operation, with which credentials, under which limits. */
export interface IncomingCall {
  readonly operation: Operation
  readonly credentials: Credentials
  /** Where it comes from. @defaultValue unknown */
  readonly client?: ClientInfo | undefined
  readonly requestId: string
  readonly traceparent?: string | undefined
  /** Aborts when the caller goes away. */
  readonly signal: AbortSignal
  /** The HTTP status with which the call is answered, or was. Missing on surfaces that are not HTTP. */
  statusOf?(failure: QuintetError | undefined): number | undefined
  /** The caller's own deadline, in milliseconds since the epoch. */
  readonly deadline?: number | undefined
}

/** What happens to a call once it has been let in. */
export interface CallSteps<Input, Result> {
  /** Reads and validates the input. Runs only for a caller who may use the operation. */
  readonly input: () => Input | Promise<Input>
  readonly handle: (input: Input, invocation: Invocation) => Promise<Result> | Result
}

/** As {@link CallSteps}, for handlers that answer with a sequence. */
export interface SequenceSteps<Input, Item> {
  readonly input: () => Input | Promise<Input>
  readonly handle: (input: Input, invocation: Invocation) => AsyncIterable<Item>
}

export interface PipelineOptions {
  readonly logger: Logger
  /** Without one, every credential is refused and only `public` operations can be called. */
  readonly auth?: AuthManager | undefined
  /** The first one is the outermost. */
  readonly wrappers?: readonly InvocationWrapper[]
  readonly observers?: readonly InvocationObserver[]
  /** Calls in progress at once; more are refused with `ERR_CORE_OVERLOADED`. @defaultValue 10 000 */
  readonly maxConcurrentCalls?: number
  readonly clock?: Clock
}

/** What applies where {@link PipelineOptions} says nothing. */
export const pipelineDefaults = { maxConcurrentCalls: 10_000 } as const

/** The one way to a handler: admit, authenticate, authorize, wrappers, handler, settle. */
export interface Pipeline {
  /** Calls in progress. */
  readonly active: number
  /** How many calls are in progress, by the name of their operation. */
  readonly activeByOperation: ReadonlyMap<string, number>
  run<Input, Result>(call: IncomingCall, steps: CallSteps<Input, Result>): Promise<Result>
  /** As `run`, for handlers that answer with a sequence. The wrappers stay open until it has ended. */
  stream<Input, Item>(
    call: IncomingCall,
    steps: SequenceSteps<Input, Item>,
  ): AsyncGenerator<Item, void, undefined>
  /** Authenticates and authorizes without calling anything, e.g. before a WebSocket upgrade. */
  authorize(call: IncomingCall): Promise<Principal>
  /** Calls `onEnd` once when the principal's session ends, so that its open connections can be closed; undefined when the auth manager cannot tell. */
  watch(principal: Principal, onEnd: (end: SessionEnd) => void): Disposable | undefined
  /** The headers of HTTP that tell a refused caller what is wanted of it: the auth manager's, or a plain bearer challenge. */
  challenge(error: QuintetError, presented: Credentials['scheme']): Challenge
  addObserver(observer: InvocationObserver): void
  /** Tells the observers of a request that asked for no operation there is, e.g. of a 404; it is not logged. */
  reportRefused(call: Pick<IncomingCall, 'operation' | 'requestId' | 'statusOf'>, error: QuintetError): void
  /** Refuses new calls from now on, and resolves when no call is in progress or the signal aborts. */
  drain(signal: AbortSignal): Promise<void>
}
