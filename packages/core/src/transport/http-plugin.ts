import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Operation } from '../pipeline/operation.ts'
import type { TransportHost } from './transport.ts'

/** Answers plain HTTP requests before the pipeline sees them, e.g. probes. Given to the HTTP transport. */
export interface HttpPlugin {
  readonly name: string
  /** What it answers, and whom it says it answers, for `quintet routes`. */
  readonly operations?: readonly Operation[]
  /** Runs before the transport listens; when it fails, the process does not start. */
  start(host: TransportHost): void | Promise<void>
  /** True when the request is answered or will be. */
  handle(request: IncomingMessage, response: ServerResponse): boolean
}
