import { connect, type Socket } from 'node:net'
import { toQuintetError, type CallOptions, type Principal } from '@quintet/core'
import { EventQueue } from '../client/event-queue.ts'
import { serverError } from '../errors.ts'
import { decodeBody, encodeBody } from './body.ts'
import { readError, writeCallHead } from './call-head.ts'
import { binaryFlag, frameType, FrameReader, FrameWriter, type Frame } from './frames.ts'
import { isSameProof, linkVersion, makeNonce, proveKey, type LinkIdentity } from './handshake.ts'
import { initialCredit, noDeadline } from './link-session.ts'

export interface LinkConnectionOptions {
  readonly path: string
  readonly caller: LinkIdentity
  readonly callee: { readonly system: string; readonly process: string }
  readonly key: Buffer
  /** Bytes. */
  readonly maxFrameSize: number
}

interface PendingCall {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  items: EventQueue | undefined
  readonly signal: AbortSignal | undefined
  onAbort: (() => void) | undefined
}

const handshakeTimeout = 5_000

/** The calling side of one link to one instance of a sibling. */
export class LinkConnection {
  readonly path: string
  readonly #options: LinkConnectionOptions
  readonly #socket: Socket
  readonly #writer: FrameWriter
  readonly #pending = new Map<number, PendingCall>()
  readonly #timer: NodeJS.Timeout
  readonly #onChange: () => void
  #nextId = 1
  #state: 'connecting' | 'ready' | 'leaving' | 'closed' = 'connecting'
  #expected: string | undefined

  /** @param onChange called when the connection can be used, or cannot be used any more. */
  constructor(options: LinkConnectionOptions, onChange: () => void) {
    this.path = options.path
    this.#options = options
    this.#onChange = onChange
    this.#socket = connect(options.path)
    this.#writer = new FrameWriter(this.#socket)
    this.#timer = setTimeout(() => this.#socket.destroy(), handshakeTimeout)
    const reader = new FrameReader(options.maxFrameSize)
    const onFrame = (frame: Frame): void => this.#frame(frame)
    this.#socket.on('data', (chunk: Buffer) => {
      try {
        reader.read(chunk, onFrame)
      } catch (error) {
        this.#socket.destroy(error instanceof Error ? error : undefined)
      }
    })
    this.#socket.on('error', () => {})
    this.#socket.once('close', () => this.#closed())
  }

  /** Whether new calls can be sent here. */
  get ready(): boolean {
    return this.#state === 'ready'
  }

  get closed(): boolean {
    return this.#state === 'closed'
  }

  /** Calls that wait for their answer. */
  get active(): number {
    return this.#pending.size
  }

  /** Sends a call. Resolves with its result, or with the items of a stream. */
  call(method: string, input: unknown, principal: Principal, options: CallOptions): Promise<unknown> {
    const { signal } = options
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error)
    const body = encodeBody(input)
    const head = writeCallHead({ method, principal, lastEventId: options.lastEventId })
    const remaining =
      options.deadline === undefined
        ? noDeadline
        : Math.min(noDeadline - 1, Math.max(0, Math.ceil(options.deadline - Date.now())))
    const id = this.#takeId()
    return new Promise((resolve, reject) => {
      const pending: PendingCall = { resolve, reject, signal, items: undefined, onAbort: undefined }
      this.#pending.set(id, pending)
      if (signal !== undefined) {
        pending.onAbort = () => this.#cancel(id, signal.reason)
        signal.addEventListener('abort', pending.onAbort, { once: true })
      }
      this.#writer.write(frameType.call, id, body.binary ? binaryFlag : 0, [
        remaining,
        head.length,
        head,
        ...body.pieces,
      ])
    })
  }

  destroy(): void {
    this.#socket.destroy()
  }

  #takeId(): number {
    do {
      this.#nextId = this.#nextId >= 0xffff_ffff ? 1 : this.#nextId + 1
    } while (this.#pending.has(this.#nextId))
    return this.#nextId
  }

  #frame(frame: Frame): void {
    if (this.#state === 'connecting') {
      this.#handshake(frame)
      return
    }
    if (frame.type === frameType.leaving) {
      this.#state = 'leaving'
      this.#onChange()
      return
    }
    const pending = this.#pending.get(frame.id)
    // An answer that crossed with the cancellation of its call.
    if (pending === undefined) return
    const binary = (frame.flags & binaryFlag) !== 0
    switch (frame.type) {
      case frameType.result:
        this.#forget(frame.id, pending)
        pending.resolve(decodeBody(frame.payload, binary))
        break
      case frameType.error:
        this.#fail(frame.id, pending, readError(frame.payload.toString('utf8')))
        break
      case frameType.item:
        this.#items(frame.id, pending).push(decodeBody(frame.payload, binary))
        break
      case frameType.end:
        this.#items(frame.id, pending).end()
        this.#forget(frame.id, pending)
        break
      default:
        throw new TypeError(`A frame of type ${String(frame.type)} is not expected.`)
    }
  }

  #items(id: number, pending: PendingCall): EventQueue {
    if (pending.items === undefined) {
      // Half of the room at a time, so that the sender need not stop and go for each.
      pending.items = new EventQueue((count) => {
        if (this.#pending.has(id)) this.#writer.write(frameType.credit, id, 0, [count])
      }, initialCredit / 2)
      pending.items.onLeave = (early) => {
        if (early) this.#cancel(id, new DOMException('The stream is not read any further.', 'AbortError'))
      }
      pending.resolve(pending.items)
    }
    return pending.items
  }

  #handshake({ type, payload }: Frame): void {
    const said = JSON.parse(payload.toString('utf8')) as Record<string, unknown>
    const { key, caller, callee, path } = this.#options
    if (type === frameType.hello && this.#expected === undefined) {
      if (said['version'] !== linkVersion)
        throw new TypeError(`The sibling speaks version ${String(said['version'])}.`)
      const nonces = { caller: makeNonce(), callee: String(said['nonce']) }
      const instance = Number(path.split('.').at(-3))
      this.#expected = proveKey(key, 'callee', nonces, { ...callee, instance })
      const proof = proveKey(key, 'caller', nonces, caller)
      this.#writer.write(frameType.proof, 0, 0, [
        JSON.stringify({ process: caller.process, instance: caller.instance, nonce: nonces.caller, proof }),
      ])
    } else if (
      type === frameType.welcome &&
      this.#expected !== undefined &&
      isSameProof(said['proof'], this.#expected)
    ) {
      clearTimeout(this.#timer)
      this.#state = 'ready'
      this.#onChange()
    } else {
      throw new TypeError('The sibling did not prove that it belongs to this system.')
    }
  }

  #cancel(id: number, reason: unknown): void {
    const pending = this.#pending.get(id)
    if (pending === undefined) return
    if (!this.#socket.destroyed) this.#writer.write(frameType.cancel, id, 0, [])
    this.#fail(id, pending, reason)
  }

  #fail(id: number, pending: PendingCall, error: unknown): void {
    this.#forget(id, pending)
    if (pending.items === undefined) pending.reject(error)
    else pending.items.fail(error)
  }

  #forget(id: number, pending: PendingCall): void {
    this.#pending.delete(id)
    if (pending.onAbort !== undefined) pending.signal?.removeEventListener('abort', pending.onAbort)
  }

  #closed(): void {
    clearTimeout(this.#timer)
    this.#state = 'closed'
    const gone = toQuintetError(
      serverError('ERR_SERVER_CLOSED', 'The sibling process ended the link before it had answered.'),
    )
    for (const [id, pending] of this.#pending) this.#fail(id, pending, gone)
    this.#onChange()
  }
}
