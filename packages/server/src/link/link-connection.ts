import { connect, type Socket } from 'node:net'
import { isQuintetError } from '@quintet/core'
import {
  type CallOptions,
  type ForwardedCall,
  systemClock,
  type Timed,
  TimeLimit,
  toQuintetError,
  longestTimer,
  createLiveness,
  type Liveness,
} from '@quintet/core/kit'
import { notEncodable } from '../encode-input.ts'
import { eventIdOf } from '../streams/event-id.ts'
import { EventQueue } from '../streams/event-queue.ts'
import { serverError } from '../errors.ts'
import { decodeBody, encodeBody, type EncodedBody } from './body.ts'
import { CallHeadWriter, readError } from './call-head.ts'
import { writeOrigin } from './call-origin.ts'
import { CallNumbers, CallSlots } from './call-slots.ts'
import {
  binaryFlag,
  frameHeader,
  frameType,
  FrameReader,
  FrameWriter,
  resumableFlag,
  type Frame,
} from './frames.ts'
import { isSameProof, linkVersion, makeNonce, proveKey, type LinkIdentity } from './handshake.ts'
import { callFields, initialCredit, noDeadline } from './link-constants.ts'

export interface LinkConnectionOptions {
  readonly path: string
  readonly caller: LinkIdentity
  readonly callee: { readonly system: string; readonly process: string }
  readonly key: Buffer
  /** Bytes. */
  readonly maxFrameSize: number
  /** How long a call may take, in milliseconds; 0 for no limit. */
  readonly timeout: number
  readonly keepAlive: KeepAlive
}

/** Milliseconds without a word after which the other side is asked, and until it must have answered. */
export interface KeepAlive {
  readonly interval: number
  readonly timeout: number
}

interface PendingCall extends Timed {
  readonly id: number
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
  items: EventQueue | undefined
  /** Whether the stream can be taken up again after its last item. */
  resumable: boolean
  readonly signal: AbortSignal | undefined
  onAbort: (() => void) | undefined
  /** Ends it at its own deadline. */
  timer: NodeJS.Timeout | undefined
  /** Whether its time runs until it is answered or has begun. */
  limited: boolean
  /** It is not waited for here any more, and the other side has not ended it yet. */
  left: boolean
}

const handshakeTimeout = 5_000

/** The calling side of one link to one instance of a sibling. */
export class LinkConnection {
  readonly path: string
  readonly #options: LinkConnectionOptions
  readonly #socket: Socket
  readonly #writer: FrameWriter
  readonly #pending = new CallSlots<PendingCall>()
  readonly #numbers = new CallNumbers()
  readonly #heads = new CallHeadWriter()
  readonly #timer: NodeJS.Timeout
  readonly #limit: TimeLimit | undefined
  /** Probes the other side once it can be used; anything that is heard shows that it lives. */
  #liveness: Liveness | undefined
  readonly #onChange: () => void
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
    if (options.timeout > 0) this.#limit = new TimeLimit(options.timeout, systemClock)
    const reader = new FrameReader(options.maxFrameSize)
    const onFrame = (frame: Frame): void => this.#frame(frame)
    this.#socket.on('data', (chunk: Buffer) => {
      this.#liveness?.heard()
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

  /** Calls that the other side has not ended. */
  get active(): number {
    return this.#pending.size
  }

  /** Sends a call. Resolves with its result, or with the items of a stream. */
  call(method: string, input: unknown, caller: ForwardedCall, options: CallOptions): Promise<unknown> {
    const { signal } = options
    if (signal?.aborted === true) return Promise.reject(signal.reason as Error)
    const origin = Buffer.from(writeOrigin(caller), 'utf8')
    const room = this.#options.maxFrameSize - frameHeader - callFields - origin.length
    let body: EncodedBody
    try {
      body = encodeBody(input, room)
    } catch (error) {
      return Promise.reject(isQuintetError(error) ? error : notEncodable(error))
    }
    const remaining =
      options.deadline === undefined
        ? noDeadline
        : Math.min(noDeadline - 1, Math.max(0, Math.ceil(options.deadline - Date.now())))
    const id = this.#numbers.take()
    if (id === undefined)
      return Promise.reject(
        serverError('ERR_SERVER_CONNECTION_LIMIT', 'The link has no room for more calls.'),
      )
    let head: readonly (number | Uint8Array)[]
    try {
      const { principal } = caller
      head = this.#heads.write({ method, principal, lastEventId: options.lastEventId }, room - body.size)
    } catch (error) {
      this.#numbers.giveBack(id)
      return Promise.reject(error as Error)
    }
    return new Promise((resolve, reject) => {
      const pending: PendingCall = {
        id,
        resolve,
        reject,
        signal,
        items: undefined,
        resumable: false,
        onAbort: undefined,
        timer: undefined,
        limited: this.#limit !== undefined,
        left: false,
        dueAt: 0,
        earlier: undefined,
        later: undefined,
        onDue: () => {
          pending.limited = false
          this.#cancel(pending, tookTooLong())
        },
      }
      this.#pending.set(id, pending)
      this.#limit?.add(pending, performance.now())
      if (remaining !== noDeadline && remaining <= longestTimer)
        pending.timer = setTimeout(() => this.#cancel(pending, tookTooLong()), remaining)
      if (signal !== undefined) {
        pending.onAbort = () => this.#cancel(pending, signal.reason)
        signal.addEventListener('abort', pending.onAbort, { once: true })
      }
      this.#writer.write(frameType.call, id, body.binary ? binaryFlag : 0, [
        remaining,
        origin.length,
        ...head,
        origin,
        ...body.pieces,
      ])
    })
  }

  destroy(): void {
    this.#socket.destroy()
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
    if (frame.type === frameType.pong) return
    const pending = this.#pending.get(frame.id)
    if (pending === undefined) throw new TypeError('There is no call of this number.')
    const { type, payload } = frame
    const isLast = type === frameType.result || type === frameType.error || type === frameType.end
    if (!isLast && type !== frameType.item && type !== frameType.begin)
      throw new TypeError(`A frame of type ${String(type)} is not expected.`)
    if (isLast) {
      this.#pending.delete(pending.id)
      this.#numbers.giveBack(pending.id)
    }
    // An answer that crossed with the cancellation of its call.
    if (pending.left) return
    if (isLast) this.#leave(pending)
    const binary = (frame.flags & binaryFlag) !== 0
    if (type === frameType.result || type === frameType.item) {
      let value: unknown
      try {
        value = decodeBody(payload, binary)
      } catch (error) {
        // An answer that cannot be read ends its own call; the framing is intact.
        if (isLast) this.#fail(pending, error)
        else this.#cancel(pending, error)
        return
      }
      if (isLast) pending.resolve(value)
      else this.#items(pending).push({ event: value, id: pending.resumable ? eventIdOf(value) : undefined })
    } else if (type === frameType.begin) {
      pending.resumable = (frame.flags & resumableFlag) !== 0
      this.#items(pending)
    } else if (type === frameType.end) this.#items(pending).end()
    else this.#fail(pending, readError(payload.toString()))
  }

  #items(pending: PendingCall): EventQueue {
    if (pending.items === undefined) {
      // Half of the room at a time, so that the sender need not stop and go for each.
      pending.items = new EventQueue((count) => {
        if (!pending.left) this.#writer.write(frameType.credit, pending.id, 0, [count])
      }, initialCredit / 2)
      pending.items.onLeave = (early) => {
        if (early)
          this.#cancel(pending, new DOMException('The stream is not read any further.', 'AbortError'))
      }
      this.#stopTime(pending)
      pending.resolve(pending.items)
    }
    return pending.items
  }

  #handshake({ type, payload }: Frame): void {
    const said = JSON.parse(payload.toString()) as Record<string, unknown>
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
      this.#liveness = createLiveness({
        ...this.#options.keepAlive,
        ping: () => this.#writer.write(frameType.ping, 0, 0, []),
        onLost: () => void this.#socket.destroy(),
      })
      this.#onChange()
    } else {
      throw new TypeError('The sibling did not prove that it belongs to this system.')
    }
  }

  /** The number of the call is free again only when the other side has ended it. */
  #cancel(pending: PendingCall, reason: unknown): void {
    if (pending.left) return
    if (!this.#socket.destroyed) this.#writer.write(frameType.cancel, pending.id, 0, [])
    this.#fail(pending, reason)
  }

  #fail(pending: PendingCall, error: unknown): void {
    this.#leave(pending)
    if (pending.items === undefined) pending.reject(error)
    else pending.items.fail(error)
  }

  #leave(pending: PendingCall): void {
    pending.left = true
    this.#stopTime(pending)
    clearTimeout(pending.timer)
    if (pending.onAbort !== undefined) pending.signal?.removeEventListener('abort', pending.onAbort)
  }

  #stopTime(pending: PendingCall): void {
    if (!pending.limited) return
    pending.limited = false
    this.#limit?.delete(pending)
  }

  #closed(): void {
    clearTimeout(this.#timer)
    this.#liveness?.stop()
    this.#state = 'closed'
    const gone = toQuintetError(
      serverError('ERR_SERVER_CLOSED', 'The sibling process ended the link before it had answered.'),
    )
    for (const pending of this.#pending) if (!pending.left) this.#fail(pending, gone)
    this.#onChange()
  }
}

function tookTooLong(): Error {
  return toQuintetError(new DOMException('The call took too long.', 'TimeoutError'))
}
