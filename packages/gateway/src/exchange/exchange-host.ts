import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import type { GatewayError } from '../errors.ts'
import type { LiveRoute } from '../upstream/open-routes.ts'
import type { UpstreamGroup } from '../upstream/upstream-group.ts'
import type { Upstream } from '../upstream/upstream.ts'
import type { PathRewrite } from './response-headers.ts'
import type { Retries } from './retry-budget.ts'

/** What an exchange is to do: which request goes where. */
export interface ExchangePlan {
  readonly route: LiveRoute
  readonly group: UpstreamGroup
  readonly affinityKey: string | undefined
  /** With its query. */
  readonly path: string
  /** How paths in the answer become the client's; undefined where they are the same. */
  readonly rewrite: PathRewrite | undefined
  /** Flat name and value pairs for the upstream. */
  readonly headers: string[]
  readonly hasBody: boolean
  /** The body has no length, and is sent in chunks. */
  readonly chunked: boolean
  readonly requestId: string
  /** The client waits for "100 Continue" before it sends its body. */
  readonly expectsContinue: boolean
  readonly upgrade: boolean
}

/** One request on its way through, as far as the rest of the gateway sees it. */
export interface ExchangeRecord {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly plan: ExchangePlan
  readonly startedAt: number
  readonly attempts: number
  readonly upstream: Upstream | undefined
  /** Hands the client's socket over once its handshake has been accepted; undefined for any other request. */
  readonly takeSocket: (() => Socket) | undefined
}

/** What an exchange needs from the gateway. */
export interface ExchangeHost {
  readonly retries: Retries
  /** Flat name and value pairs. */
  readonly securityHeaders: readonly string[]
  /** No connection is kept any more. */
  readonly stopping: boolean
  /** Answers a request that no upstream has answered. */
  refuse(exchange: ExchangeRecord, error: GatewayError): void
  /** Takes over the sockets of an accepted WebSocket. Gives `released` back when it is closed. */
  upgraded(
    exchange: ExchangeRecord,
    upstreamSocket: Socket,
    headers: readonly string[],
    released: () => void,
  ): void
  settled(exchange: ExchangeRecord, outcome: string): void
}
