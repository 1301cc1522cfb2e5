import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Credentials } from './credentials.ts'
import type { HealthChecks } from './health-checks.ts'
import type { Lifecycle } from './lifecycle.ts'
import type { Logger } from './logger.ts'
import type { Operation } from './operation.ts'
import type { Pipeline } from './pipeline.ts'
import type { Principal } from './principal.ts'
import type { Route } from './route.ts'
import type { NamedProcedure } from './service.ts'

/** What a process offers to a transport: the pipeline, and every way in that it may open. */
export interface TransportHost {
  readonly system: { readonly name: string; readonly version: string }
  readonly process: string
  /** Counts the instances of the process from 0. */
  readonly instance: number
  readonly pipeline: Pipeline
  readonly procedures: ReadonlyMap<string, NamedProcedure>
  readonly routes: readonly Route[]
  /** What `setup` returned. Handed to handlers, never inspected. */
  readonly services: unknown
  readonly health: HealthChecks
  readonly lifecycle: Lifecycle
  readonly logger: Logger
  /** The port given from outside for this transport (by the supervisor or a test), if any. */
  readonly port: number | undefined
}

/**
 * One set of ways into a process: HTTP, WebSocket, a link, a queue worker. Core knows only this port;
 * the packages make the values.
 */
export interface Transport {
  /** Unique in its process, e.g. `http`. */
  readonly name: string
  /** The port it takes when none is given from outside, for the supervisor's plan; undefined for a worker, 0 for any free one. */
  readonly port?: number
  /** The ways in beyond procedures and routes that it opens itself (channels, jobs), for `quintet routes`. */
  readonly operations?: readonly Operation[]
  start(host: TransportHost): Promise<RunningTransport>
}

export interface RunningTransport {
  /** Where it can be reached, e.g. `http://127.0.0.1:3002`; undefined for a worker. */
  readonly url: string | undefined
  /** Accepts nothing new, tells its clients, and resolves when what it had in progress is done. Ends early when the signal aborts. */
  drain(reason: StopReason, signal: AbortSignal): Promise<void>
  /** Lets go of everything at once. */
  close(): Promise<void>
}

/** Why a process stops; told to WebSocket clients. */
export type StopReason = 'deployment' | 'restart' | 'shutdown' | 'failure'

/**
 * A conversation over a WebSocket connection under one subprotocol. `server` brings RPC, `realtime` brings
 * channels; the WebSocket transport authenticates, limits and keeps the connection alive.
 */
export interface SocketProtocol {
  /** The `Sec-WebSocket-Protocol` name with its version, e.g. `quintet.rpc.v1`. */
  readonly name: string
  readonly operations?: readonly Operation[]
  start?(host: TransportHost): Promise<void>
  open(connection: SocketConnection): SocketSession
  /** Tells every open session before the sockets are closed. */
  close?(): Promise<void>
}

export interface SocketConnection {
  readonly id: string
  readonly principal: Principal
  /** What the client has shown, as of now. Given to the pipeline with every message, so that a session which ended is refused at once. */
  readonly credentials: Credentials
  readonly host: TransportHost
  /** Aborts when the connection has closed. */
  readonly signal: AbortSignal
  /** Sends one text or binary message. False when it was dropped by the send buffer's policy or the socket is closed. */
  send(message: string | Uint8Array): boolean
  /** Bytes that wait to be sent. */
  readonly bufferedBytes: number
  /** Goes on with a new token of the same session; refused like any bad credentials. Absent where the transport cannot. */
  renew?(token: string): Promise<void>
  close(code: number, reason: string): void
}

export interface SocketSession {
  message(data: string | Uint8Array): void
  /** The process is about to stop: tell the client in the protocol's own words. The transport closes with 1001 afterwards. */
  notifyShutdown(reason: StopReason, reconnectAfterMs: number): void
  closed(code: number): void
}

/** Answers plain HTTP requests before the pipeline sees them, e.g. probes. Given to the HTTP transport. */
export interface HttpPlugin {
  readonly name: string
  /** What it answers, and whom it says it answers, for `quintet routes`. */
  readonly operations?: readonly Operation[]
  start(host: TransportHost): void
  /** True when the request is answered or will be. */
  handle(request: IncomingMessage, response: ServerResponse): boolean
}
