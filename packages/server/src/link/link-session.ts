import type { Socket } from 'node:net'
import type { ClientInfo, Principal } from '@quintet/core'
import {
  callProcedure,
  type Credentials,
  type IncomingCall,
  type NamedProcedure,
  noCredentials,
  type Operation,
  procedureOperation,
  streamProcedure,
  toQuintetError,
  type TransportHost,
} from '@quintet/core/kit'
import { serverError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { decodeBody, encodeBody, type EncodedBody } from './body.ts'
import type { ByteRange } from './byte-range.ts'
import { CallHeadReader, writeError, type CallHead } from './call-head.ts'
import { readOrigin, type CallOrigin } from './call-origin.ts'
import { CallSlots } from './call-slots.ts'
import { callFields, initialCredit, noDeadline } from './link-constants.ts'
import { binaryFlag, resumableFlag, frameHeader, frameType, type Frame, type FrameWriter } from './frames.ts'

/** What a call of a procedure that there is not counts as. */
const unknownProcedure: Operation = Object.freeze({
  surface: 'link',
  name: 'unknown procedure',
  access: 'public',
  freshness: undefined,
  timeout: 0,
})

/** A procedure as it is called over a link. */
export interface LinkedProcedure {
  readonly named: NamedProcedure
  readonly operation: Operation
}

export function linkedProcedures(host: TransportHost): ReadonlyMap<string, LinkedProcedure> {
  const linked = new Map<string, LinkedProcedure>()
  for (const named of host.procedures.values()) {
    linked.set(named.name, { named, operation: procedureOperation(named.name, named.procedure, 'link') })
  }
  return linked
}

/** Answers the calls of one sibling that has proved itself. */
export class LinkSession {
  readonly #host: TransportHost
  readonly #procedures: ReadonlyMap<string, LinkedProcedure>
  readonly #socket: Socket
  readonly #writer: FrameWriter
  /** The most bytes of an answer. */
  readonly #limit: number
  readonly #heads = new CallHeadReader()
  readonly #calls = new CallSlots<ServedCall>()

  constructor(
    host: TransportHost,
    procedures: ReadonlyMap<string, LinkedProcedure>,
    socket: Socket,
    writer: FrameWriter,
    maxFrameSize: number,
  ) {
    this.#host = host
    this.#procedures = procedures
    this.#socket = socket
    this.#writer = writer
    this.#limit = maxFrameSize - frameHeader
  }

  get active(): number {
    return this.#calls.size
  }

  /** Called when the last call in progress has been answered. */
  onIdle: (() => void) | undefined

  /** @throws when the frame makes no sense; the connection must end then. */
  frame({ type, flags, id, payload }: Frame): void {
    if (type === frameType.call) this.#start(id, flags, payload)
    else if (type === frameType.cancel)
      this.#calls.get(id)?.abort(new DOMException('The caller canceled the call.', 'AbortError'))
    else if (type === frameType.credit) this.#calls.get(id)?.grant(payload.readUInt32LE(0))
    else if (type === frameType.ping) this.#writer.write(frameType.pong, 0, 0, [])
    else throw new TypeError(`A frame of type ${String(type)} is not expected.`)
  }

  /** The sibling has gone. */
  closed(): void {
    for (const call of this.#calls) call.abort(new DOMException('The caller went away.', 'AbortError'))
  }

  /** Breaks off the streams, which have no end of their own, so that their readers go elsewhere. */
  endStreams(): void {
    for (const call of this.#calls) {
      if (call.streams) call.abort(serverError('ERR_SERVER_CLOSED', 'The process is about to stop.'))
    }
  }

  #start(id: number, flags: number, payload: ByteRange): void {
    const remaining = payload.readUInt32LE(0)
    const originAt = callFields + payload.readUInt32LE(12)
    const bodyAt = originAt + payload.readUInt32LE(4)
    const head = this.#heads.read(payload.readUInt32LE(8), payload.slice(callFields, originAt))
    const origin = readOrigin(payload.slice(originAt, bodyAt).toString())
    const found = this.#procedures.get(head.method)
    if (found === undefined) {
      const unknown = serverError('ERR_SERVER_NOT_FOUND', 'There is no such procedure.')
      const { requestId } = origin
      this.#host.pipeline.reportRefused({ operation: unknownProcedure, requestId }, toQuintetError(unknown))
      this.#fail(id, unknown)
      return
    }
    const { procedure } = found.named
    const body = payload.slice(bodyAt)
    const call = new ServedCall(found.operation, head, origin, remaining, procedure.mode === 'stream')
    this.#calls.set(id, call)
    const readInput = (): unknown => {
      if (body.length > procedure.maxInputSize) {
        throw serverError(
          'ERR_SERVER_TOO_LARGE',
          `The input is larger than ${String(procedure.maxInputSize)} bytes.`,
          {
            details: { limit: procedure.maxInputSize },
          },
        )
      }
      // What a caller sends is held to the same rules as over HTTP.
      return decodeBody(body, (flags & binaryFlag) !== 0, parseJson)
    }
    if (call.streams) {
      const items = streamProcedure(this.#host, procedure, call, readInput, {
        lastEventId: head.lastEventId,
        onBegin: () => this.#writer.write(frameType.begin, id, procedure.resumable ? resumableFlag : 0, []),
        encode: this.#encode,
      })
      void this.#pump(id, call, items)
      return
    }
    callProcedure(this.#host, procedure, call, readInput, this.#encode).then(
      (body) => this.#answer(id, body),
      (error: unknown) => this.#fail(id, error),
    )
  }

  readonly #encode = (value: unknown): EncodedBody => encodeBody(value, this.#limit)

  #answer(id: number, { binary, pieces }: EncodedBody): void {
    this.#writer.write(frameType.result, id, binary ? binaryFlag : 0, pieces)
    this.#forget(id)
  }

  #fail(id: number, error: unknown): void {
    this.#writer.write(frameType.error, id, 0, [writeError(error, this.#limit)])
    this.#forget(id)
  }

  async #pump(
    id: number,
    call: ServedCall,
    items: AsyncGenerator<EncodedBody, void, undefined>,
  ): Promise<void> {
    try {
      for await (const { binary, pieces } of items) {
        if (this.#socket.destroyed) break
        this.#writer.write(frameType.item, id, binary ? binaryFlag : 0, pieces)
        // As many items are on their way as the reader has room for.
        await call.spend()
      }
      this.#writer.write(frameType.end, id, 0, [])
      this.#forget(id)
    } catch (error) {
      this.#fail(id, error)
    }
  }

  #forget(id: number): void {
    this.#calls.delete(id)
    if (this.#calls.size === 0) this.onIdle?.()
  }
}

class ServedCall implements IncomingCall {
  readonly operation: Operation
  readonly credentials: Credentials
  readonly client: ClientInfo
  readonly requestId: string
  readonly traceparent: string | undefined
  readonly deadline: number | undefined
  readonly streams: boolean
  #controller: AbortController | undefined
  #reason: unknown
  #aborted = false
  #credit: number = 0
  #onCredit: (() => void) | undefined

  constructor(
    operation: Operation,
    head: CallHead,
    { client, requestId, traceparent }: CallOrigin,
    remaining: number,
    streams: boolean,
  ) {
    this.operation = operation
    this.credentials = attested(head.principal)
    this.client = client
    this.requestId = requestId
    this.traceparent = traceparent
    this.deadline = remaining === noDeadline ? undefined : Date.now() + remaining
    this.streams = streams
    this.#credit = initialCredit
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#aborted) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  abort(reason: unknown): void {
    if (this.#aborted) return
    this.#aborted = true
    this.#reason = reason
    this.#controller?.abort(reason)
    this.#onCredit?.()
  }

  grant(credit: number): void {
    this.#credit += credit
    this.#onCredit?.()
  }

  /** Takes the credit of one item, and waits for more when it was the last. */
  async spend(): Promise<void> {
    this.#credit--
    while (this.#credit <= 0 && !this.#aborted) {
      await new Promise<void>((resolve) => (this.#onCredit = resolve))
    }
  }
}

function attested(principal: Principal): Credentials {
  return principal.kind === 'anonymous' ? noCredentials : { scheme: 'attested', principal, by: 'link' }
}
