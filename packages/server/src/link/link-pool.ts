import type { BinaryClientLink } from '@quintet/core'
import { delay, type CallOptions, type ForwardedCall } from '@quintet/core/kit'
import { EventQueue } from '../streams/event-queue.ts'
import { resumeStream, type StreamItem } from '../streams/resume.ts'
import { serverError } from '../errors.ts'
import { takeAlong } from './call-origin.ts'
import type { LinkIdentity } from './handshake.ts'
import { LinkConnection, type KeepAlive } from './link-connection.ts'
import type { SocketFolder } from './socket-files.ts'

export interface LinkPoolOptions {
  readonly folder: SocketFolder
  readonly caller: LinkIdentity
  readonly process: string
  readonly key: Buffer
  /** Bytes. */
  readonly maxFrameSize: number
  /** How long a call waits for an instance that can take it, in milliseconds. */
  readonly connectTimeout: number
  /** How long a call may take, in milliseconds; 0 for no limit. */
  readonly timeout: number
  /** Milliseconds; an interval of 0 never asks. */
  readonly keepAlive: KeepAlive
}

/** How often the folder is read for instances that have come, in milliseconds. */
const lookEvery = 1_000
const firstBackoff = 25
const longestBackoff = 1_000

/** A link to all instances of a sibling: each call goes to the one with the least to do. */
export class LinkPool implements BinaryClientLink, AsyncDisposable {
  readonly carriesBytes = true
  readonly #options: LinkPoolOptions
  readonly #forward: () => ForwardedCall
  readonly #connections = new Map<string, LinkConnection>()
  /** When a socket that did not answer may be tried again. */
  readonly #notBefore = new Map<string, { readonly at: number; readonly pause: number }>()
  #waiting: (() => void)[] = []
  #looking: Promise<void> | undefined
  #prepared: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #closed = false

  constructor(options: LinkPoolOptions, forward: () => ForwardedCall) {
    this.#options = options
    this.#forward = forward
  }

  async call(method: string, input: unknown, options: CallOptions = {}): Promise<unknown> {
    const caller = takeAlong(this.#forward())
    const answer = await this.#begin(method, input, caller, options)
    return answer instanceof EventQueue ? this.#stream(method, input, caller, options, answer) : answer
  }

  stream(method: string, input: unknown, options: CallOptions = {}): AsyncIterable<unknown> {
    return this.#stream(method, input, takeAlong(this.#forward()), options)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    clearInterval(this.#timer)
    await this.#looking?.catch(() => {})
    for (const connection of this.#connections.values()) connection.destroy()
    this.#connections.clear()
    this.#wake()
  }

  async #begin(
    method: string,
    input: unknown,
    caller: ForwardedCall,
    options: CallOptions,
  ): Promise<unknown> {
    const connection = this.#pick() ?? (await this.#wait(options))
    return connection.call(method, input, caller, options)
  }

  #stream(
    method: string,
    input: unknown,
    caller: ForwardedCall,
    options: CallOptions,
    begun?: EventQueue,
  ): AsyncIterable<unknown> {
    const open = (lastEventId: string | undefined): AsyncIterable<StreamItem> =>
      this.#open(method, input, caller, { ...options, lastEventId })
    return resumeStream(open, options, begun)
  }

  async *#open(
    method: string,
    input: unknown,
    caller: ForwardedCall,
    options: CallOptions,
  ): AsyncGenerator<StreamItem, void, undefined> {
    const items = await this.#begin(method, input, caller, options)
    if (!(items instanceof EventQueue)) {
      throw serverError('ERR_SERVER_MODE_MISMATCH', `${method} answers with a value and not with a stream.`)
    }
    yield* items
  }

  #pick(): LinkConnection | undefined {
    let best: LinkConnection | undefined
    for (const connection of this.#connections.values()) {
      if (connection.ready && (best === undefined || connection.active < best.active)) best = connection
    }
    return best
  }

  async #wait({ signal, deadline }: CallOptions): Promise<LinkConnection> {
    // By the monotonic clock, so that a step of the wall clock makes no wait longer.
    const remaining = deadline === undefined ? Number.POSITIVE_INFINITY : deadline - Date.now()
    const waitFor = this.#options.connectTimeout || Number.POSITIVE_INFINITY
    const until = performance.now() + Math.min(waitFor, this.#options.timeout || waitFor, remaining)
    let pause = firstBackoff
    for (;;) {
      if (this.#closed) throw serverError('ERR_SERVER_CLOSED', 'This link is closed.')
      await this.#look()
      const found = this.#pick()
      if (found !== undefined) return found
      const left = until - performance.now()
      if (left <= 0) {
        throw serverError(
          'ERR_SERVER_CONNECT_FAILED',
          `No instance of the process "${this.#options.process}" can be reached.`,
          {
            details: { process: this.#options.process },
            retryAfter: 1_000,
          },
        )
      }
      const changed = new Promise<void>((resolve) => this.#waiting.push(resolve))
      await Promise.race([changed, delay(Math.min(pause, left), signal)])
      pause = Math.min(pause * 2, 250)
      const ready = this.#pick()
      if (ready !== undefined) return ready
    }
  }

  /** Reads the folder and connects to what is new in it; one reading at a time. */
  #look(): Promise<void> {
    this.#timer ??= setInterval(() => void this.#look().catch(() => {}), lookEvery).unref()
    return (this.#looking ??= this.#readFolder().finally(() => (this.#looking = undefined)))
  }

  async #readFolder(): Promise<void> {
    const { folder, caller, process } = this.#options
    this.#prepared ??= folder.prepare()
    await this.#prepared
    const files = await folder.find(caller.system, process)
    if (this.#closed) return
    const now = performance.now()
    const present = new Set(files.map(({ path }) => path))
    for (const path of this.#notBefore.keys()) if (!present.has(path)) this.#notBefore.delete(path)
    for (const path of present) {
      if (!this.#connections.has(path) && (this.#notBefore.get(path)?.at ?? 0) <= now) this.#dial(path)
    }
  }

  #dial(path: string): void {
    const { caller, process, key, maxFrameSize, timeout, keepAlive } = this.#options
    const connection: LinkConnection = new LinkConnection(
      { path, caller, callee: { system: caller.system, process }, key, maxFrameSize, timeout, keepAlive },
      () => {
        if (connection.ready) this.#notBefore.delete(path)
        if (connection.closed && this.#connections.get(path) === connection) {
          this.#connections.delete(path)
          const pause = Math.min((this.#notBefore.get(path)?.pause ?? firstBackoff / 2) * 2, longestBackoff)
          this.#notBefore.set(path, { at: performance.now() + pause * (0.5 + Math.random() / 2), pause })
        }
        this.#wake()
      },
    )
    this.#connections.set(path, connection)
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}
