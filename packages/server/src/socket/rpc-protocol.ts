import type { StopReason } from '@quintet/core'
import {
  callProcedure,
  findProcedure,
  type IncomingCall,
  type NamedProcedure,
  type Operation,
  procedureOperation,
  streamProcedure,
  toQuintetError,
  type TransportHost,
} from '@quintet/core/kit'
import { requestIdOf, traceparentOf } from '@quintet/core/http'
import { deadlineOf } from '../request/call-headers.ts'
import { serverError } from '../errors.ts'
import { unknownMessage } from '../request/unknown-operations.ts'
import { parseJson } from '../json.ts'
import { toProblem } from '../problem.ts'
import { closeCode } from '@quintet/core/http'
import { findCallId, isCallId, type CallId } from '../request/call-id.ts'
import type { AuthenticatedConnection, DrainableSession } from './connection.ts'

/** The subprotocol under which procedures are called over a WebSocket. */
export const rpcProtocolName = 'quintet.rpc.v1'

/** Calls of one connection at once. */
const maxCalls = 128
/** Items that a stream may send before its reader has asked for more. */
export const streamCredit = 64

/** One conversation of RPC; opened by the transport alone, which knows the credentials. */
export function openRpcSession(connection: AuthenticatedConnection): DrainableSession {
  return new RpcSession(connection)
}

const operations = new WeakMap<NamedProcedure, Operation>()

function messageOperation(named: NamedProcedure): Operation {
  let operation = operations.get(named)
  if (operation === undefined) {
    operation = procedureOperation(named.name, named.procedure, 'message')
    operations.set(named, operation)
  }
  return operation
}

class RpcSession implements DrainableSession {
  readonly #connection: AuthenticatedConnection
  readonly #host: TransportHost
  readonly #calls = new Map<CallId, AbortController>()
  readonly #streams = new Map<CallId, StreamFlow>()
  #stopping = false
  #renewing = false
  #onIdle: (() => void)[] = []

  constructor(connection: AuthenticatedConnection) {
    this.#connection = connection
    this.#host = connection.host
  }

  message(data: string | Uint8Array): void {
    let message: Record<string, unknown>
    try {
      message = this.#read(data)
    } catch (error) {
      this.#refuseUnread(data, error)
      return
    }
    const { type, id } = message
    if (!isCallId(id)) {
      this.#refuse(null, invalid('The message needs an id: a string or a number.'))
    } else if (type === 'call') this.#call(id, message, data.length)
    else if (type === 'cancel')
      this.#calls.get(id)?.abort(new DOMException('The caller canceled the call.', 'AbortError'))
    else if (type === 'credit') this.#grant(id, message['count'])
    else if (type === 'renew') this.#renew(id, message['token'])
    else if (type === 'ping') this.#send({ type: 'pong', id })
    else this.#refuse(id, invalid('The type of the message must be call, cancel, credit, renew or ping.'))
  }

  tooLarge(data: string | Uint8Array, limit: number): void {
    const error = serverError('ERR_SERVER_TOO_LARGE', `The message is larger than ${String(limit)} bytes.`, {
      details: { limit },
    })
    this.#refuseUnread(data, error)
  }

  #read(data: string | Uint8Array): Record<string, unknown> {
    if (typeof data !== 'string') throw invalid('The message must be text.')
    const value = parseJson(data)
    if (typeof value === 'object' && value !== null && !Array.isArray(value))
      return value as Record<string, unknown>
    throw invalid('The message must be an object.')
  }

  notifyShutdown(reason: StopReason, reconnectAfterMs: number): void {
    this.#stopping = true
    this.#send({ type: 'shutdown', reason, reconnectAfterMs })
    const gone = serverError('ERR_SERVER_CLOSED', 'The server is about to stop. Resume at another one.')
    for (const { controller } of this.#streams.values()) controller.abort(gone)
  }

  whenIdle(): Promise<void> {
    if (this.#calls.size === 0) return Promise.resolve()
    return new Promise((resolve) => this.#onIdle.push(resolve))
  }

  closed(): void {
    for (const controller of this.#calls.values())
      controller.abort(new DOMException('The caller went away.', 'AbortError'))
    this.#wake()
  }

  #call(id: CallId, message: Record<string, unknown>, size: number): void {
    const requestId = requestIdOf(message['requestId'])
    try {
      if (this.#stopping)
        throw serverError('ERR_SERVER_CLOSED', 'The server is about to stop. Call another one.')
      if (this.#calls.has(id)) throw invalid('The id belongs to a call in progress.')
      if (this.#calls.size >= maxCalls) {
        throw serverError(
          'ERR_SERVER_CONNECTION_LIMIT',
          `At most ${String(maxCalls)} calls may be in progress on a connection.`,
        )
      }
      const named = this.#find(message['method'], requestId)
      const controller = new AbortController()
      const call: IncomingCall = {
        operation: messageOperation(named),
        // The token is verified anew for every message, so that a revoked session is refused at once.
        credentials: this.#connection.credentials,
        client: this.#connection.client,
        requestId,
        traceparent: traceparentOf(message['traceparent']),
        signal: controller.signal,
        deadline: deadlineOf(message['deadlineMs'], message['timeoutMs'], named.procedure.mode === 'stream'),
      }
      this.#calls.set(id, controller)
      void this.#answer(
        id,
        named,
        call,
        controller,
        () => readInput(named, message['input'], size),
        message['lastEventId'],
      )
    } catch (error) {
      this.#refuse(id, error, requestId)
    }
  }

  #find(method: unknown, requestId: string): NamedProcedure {
    try {
      return findProcedure(this.#host, method)
    } catch (error) {
      this.#host.pipeline.reportRefused({ operation: unknownMessage, requestId }, toQuintetError(error))
      throw error
    }
  }

  async #answer(
    id: CallId,
    named: NamedProcedure,
    call: IncomingCall,
    controller: AbortController,
    input: () => unknown,
    lastEventId: unknown,
  ): Promise<void> {
    const { procedure } = named
    try {
      if (procedure.mode === 'call') {
        const encode = (output: unknown): string => JSON.stringify({ type: 'result', id, output })
        this.#sendText(await callProcedure(this.#host, procedure, call, input, encode))
        return
      }
      const flow = new StreamFlow(controller)
      this.#streams.set(id, flow)
      const events = streamProcedure(this.#host, procedure, call, input, {
        lastEventId: typeof lastEventId === 'string' ? lastEventId : undefined,
        onBegin: () => void this.#send({ type: 'begin', id, resumable: procedure.resumable }),
        encode: (event) => JSON.stringify({ type: 'item', id, event }),
      })
      for await (const text of events) {
        if (!this.#sendText(text)) break
        await flow.spend()
      }
      this.#send({ type: 'end', id })
    } catch (error) {
      this.#refuse(id, error, call.requestId)
    } finally {
      this.#streams.delete(id)
      this.#calls.delete(id)
      if (this.#calls.size === 0) this.#wake()
    }
  }

  #grant(id: CallId, count: unknown): void {
    if (typeof count === 'number' && Number.isInteger(count) && count > 0) this.#streams.get(id)?.grant(count)
    else this.#refuse(id, invalid('The count must be a positive whole number.'))
  }

  #renew(id: CallId, token: unknown): void {
    if (typeof token !== 'string') {
      this.#refuse(id, invalid('The message needs a token.'))
      return
    }
    if (this.#renewing) {
      const busy = 'Another renewal of this connection is in progress.'
      this.#refuse(id, serverError('ERR_SERVER_CONNECTION_LIMIT', busy, { retryAfter: 1_000 }))
      return
    }
    this.#renewing = true
    this.#connection
      .renew(token)
      .finally(() => (this.#renewing = false))
      .then(
        () => this.#send({ type: 'result', id }),
        (error: unknown) => this.#refuse(id, error),
      )
  }

  /** The framing is intact, so the other calls of the connection go on. */
  #refuseUnread(data: string | Uint8Array, error: unknown): void {
    this.#refuse(typeof data === 'string' ? (findCallId(data) ?? null) : null, error)
  }

  #refuse(id: CallId | null, error: unknown, requestId?: string): void {
    this.#send({ type: 'error', id, error: toProblem(error, requestId) })
  }

  #send(message: object): boolean {
    return this.#sendText(JSON.stringify(message))
  }

  /** An answer that cannot be sent ends the connection: its caller would wait for ever. */
  #sendText(text: string): boolean {
    if (this.#connection.send(text)) return true
    if (!this.#connection.signal.aborted) this.#connection.close(closeCode.slowConsumer, 'slow consumer')
    return false
  }

  #wake(): void {
    const waiting = this.#onIdle
    this.#onIdle = []
    for (const resolve of waiting) resolve()
  }
}

function invalid(message: string): Error {
  return serverError('ERR_SERVER_BODY_INVALID', message)
}

function readInput({ procedure }: NamedProcedure, input: unknown, messageSize: number): unknown {
  // Only a message that is long enough to hold too much needs its input measured.
  if (messageSize * 3 > procedure.maxInputSize && input !== undefined) {
    if (Buffer.byteLength(JSON.stringify(input)) > procedure.maxInputSize) {
      throw serverError(
        'ERR_SERVER_TOO_LARGE',
        `The input is larger than ${String(procedure.maxInputSize)} bytes.`,
        {
          details: { limit: procedure.maxInputSize },
        },
      )
    }
  }
  return input
}

/** Holds a stream to the pace of its reader. */
class StreamFlow {
  readonly controller: AbortController
  #credit = streamCredit
  #wake: (() => void) | undefined

  constructor(controller: AbortController) {
    this.controller = controller
    controller.signal.addEventListener('abort', () => this.#wake?.(), { once: true })
  }

  grant(count: number): void {
    this.#credit += count
    this.#wake?.()
  }

  /** Takes the credit of one item, and waits for more when it was the last. */
  async spend(): Promise<void> {
    this.#credit--
    while (this.#credit <= 0 && !this.controller.signal.aborted) {
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
  }
}
