import type { Invocation } from '../pipeline/invocation.ts'
import type { Transport } from './transport.ts'

export interface CallOptions {
  readonly signal?: AbortSignal | undefined
  /** Milliseconds since the epoch. */
  readonly deadline?: number | undefined
  /** For a stream: resume after this event. */
  readonly lastEventId?: string | undefined
}

/** How a typed client reaches a service: over HTTP, WebSocket, a sibling link, or in the process. */
export interface ClientLink {
  call(method: string, input: unknown, options?: CallOptions): Promise<unknown>
  stream(method: string, input: unknown, options?: CallOptions): AsyncIterable<unknown>
}

/** A link on which `Uint8Array`s travel as bytes, beside the JSON that every link carries. */
export interface BinaryClientLink extends ClientLink {
  readonly carriesBytes: true
}

/**
 * What a call to a sibling takes along of the call that is being handled, or of the process itself: for whom it is made,
 * where it comes from, and by which ids log lines and traces belong together.
 */
export type ForwardedCall = Pick<Invocation, 'principal'> &
  Partial<Pick<Invocation, 'client' | 'requestId' | 'traceparent'>>

/** Connects the processes of one system. The runner gives one to `createApp`; `@quintet/server/link` makes it. */
export interface Links {
  /** The transport by which this process answers its siblings. */
  expose(): Transport
  /** A link to a sibling process, spread over its instances. What `forward` gives goes with every call. */
  connect(process: string, forward: () => ForwardedCall): BinaryClientLink & AsyncDisposable
}
