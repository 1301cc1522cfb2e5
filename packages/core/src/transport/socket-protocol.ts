import type { Credentials } from '../access/credentials.ts'
import type { Operation } from '../pipeline/operation.ts'
import type { Principal } from '../access/principal.ts'
import type { TransportHost, StopReason } from './transport.ts'

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
