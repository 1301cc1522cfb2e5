import type { DriverConnection } from '../wire/driver.ts'
import { calledByDriver, type Submittable } from './bound-submittable.ts'
import type { Commit } from './explicit.ts'

type Method = (...args: never[]) => unknown
type Members = Record<string, Method | undefined>

/**
 * One cursor or stream on its way. It hears of its end once its transaction is committed, since a COMMIT may still fail;
 * and of an abort at once, whatever the server is doing.
 */
export class Submission {
  readonly #submittable: Submittable
  readonly #onAnswered: () => void
  /** The submittable's own methods, which the driver does not call directly any more. */
  readonly #own: Members
  #connection: DriverConnection | undefined
  #commit: Commit | undefined
  readonly #ended = Promise.withResolvers<void>()
  /** The answer of the statement, held back while the COMMIT that follows it is unanswered. */
  #completed: unknown
  #committing = false
  /** It has sent its last Sync: what comes after its answer is the end. */
  #synced = false
  #copyingIn = false
  /** It has read its whole answer; only the end is missing. */
  #complete = false
  /** The error that it was told. */
  #told: Error | undefined
  #closed = false
  #isOver = false
  readonly #waiting: (() => void)[] = []
  /** What failed after it was closed, which its own methods do not tell. */
  #unheard: Error | undefined

  /** @param onAnswered called once the server has answered it, before it hears of its end. */
  constructor(submittable: Submittable, onAnswered: () => void) {
    this.#submittable = submittable
    this.#onAnswered = onAnswered
    // A failure before it runs is told, not thrown.
    this.#ended.promise.catch(() => undefined)
    const members = submittable as unknown as Members
    this.#own = {}
    for (const name of [...calledByDriver, 'submit']) {
      const own = members[name]
      if (typeof own === 'function') this.#own[name] = own
    }
    for (const name of Object.keys(this.#own)) {
      if (name === 'emit' || name === 'callback') continue
      members[name] = (...args: unknown[]) => this.#handle(name, args)
    }
    members['handleReadyForQuery'] = () => this.#handleReadyForQuery()
    members['handleError'] = (error: Error) => this.#handleError(error)
    this.#replaceClose(submittable)
    // A stream over a cursor closes that one.
    const { cursor } = submittable as { cursor?: object }
    if (cursor !== undefined) this.#replaceClose(cursor)
  }

  /** Hands it to the driver, unless it was given up before; settles when the server has answered all of it. */
  async run(submit: () => void, commit: Commit | undefined): Promise<void> {
    if (this.#closed) return void (await commit?.())
    this.#commit = commit
    if (this.#told === undefined) submit()
    return this.#ended.promise
  }

  /** Tells it of an error that is none of the server's. */
  abort(error: Error): void {
    if (this.#complete || this.told) return
    if (this.#copyingIn) this.#connection?.sendCopyFail(error.message)
    this.#tell(error)
    if (this.#connection === undefined) this.#ended.reject(error)
  }

  /** Whether it has heard of what failed. */
  get told(): boolean {
    return this.#told !== undefined
  }

  /** The connection is done with it. */
  over(): void {
    this.#isOver = true
    for (const listener of this.#waiting.splice(0)) listener()
  }

  #handle(name: string, args: unknown[]): unknown {
    // Returned by submit, an error keeps it from being sent.
    if (this.told) return name === 'submit' ? this.#told : undefined
    if (name === 'submit') return this.#call(name, this.#open(args[0] as DriverConnection))
    if (name === 'handleCopyInResponse') this.#copyingIn = true
    if (name === 'handleCommandComplete') return this.#handleCommandComplete(args)
    return this.#call(name, ...args)
  }

  /** A cursor asks for no end before it has its answer, so COMMIT can go first, and fail as its statement may. */
  #handleCommandComplete(args: unknown[]): unknown {
    const [message, ...rest] = args
    if (this.#commit !== undefined && !this.#synced && !this.#committing) {
      this.#committing = true
      this.#completed = message
      writeCommit(this.#connection as DriverConnection)
      return undefined
    }
    this.#complete = true
    return this.#call('handleCommandComplete', this.#committing ? this.#completed : message, ...rest)
  }

  #handleReadyForQuery(): void {
    this.#onAnswered()
    if (this.#told) return this.#ended.reject(this.#told)
    if (this.#commit === undefined || this.#committing) return this.#end()
    this.#commit().then(
      () => this.#end(),
      (error: Error) => this.#handleError(error),
    )
  }

  #end(): void {
    this.#call('handleReadyForQuery', this.#connection)
    this.#ended.resolve()
  }

  #handleError(error: Error): void {
    this.#onAnswered()
    if (!this.told) this.#tell(error)
    this.#ended.reject(this.#told)
  }

  #tell(error: Error): void {
    this.#told = error
    if (this.#synced) this.#unheard = error
    // The driver's streams of COPY TO end before their statement does.
    const { destroyed } = this.#submittable as { destroyed?: boolean }
    if (destroyed !== true || !this.#complete) this.#call('handleError', error, this.#connection)
  }

  #call(name: string, ...args: unknown[]): unknown {
    return this.#own[name]?.apply(this.#submittable, args as never[])
  }

  /** The connection as it is given to the submittable. */
  #open(connection: DriverConnection): DriverConnection {
    const listen = (method: 'on' | 'once') => (event: string, listener: () => void) => {
      if (event !== 'readyForQuery') connection[method](event, listener)
      else if (this.#isOver) setImmediate(listener)
      else this.#waiting.push(listener)
    }
    this.#connection = Object.create(connection, {
      sync: {
        value: () => {
          // An error of ours and one of the server's would send two.
          if (!this.#synced) connection.sync()
          this.#synced = true
        },
      },
      query: {
        value: (text: string) => {
          this.#synced = true
          connection.query(text)
        },
      },
      close: { value: (message: never) => void (this.#isOver || connection.close(message)) },
      on: { value: listen('on') },
      once: { value: listen('once') },
      removeListener: { value: connection.removeListener.bind(connection) },
    }) as DriverConnection
    return this.#connection
  }

  /** A close before the end is the end too: it fails with what it could not tell otherwise. */
  #replaceClose(target: object): void {
    const members = target as { close?: (callback?: (error?: Error) => void) => Promise<void> | undefined }
    const { close } = members
    if (typeof close !== 'function') return
    members.close = (callback) => {
      if (this.#connection === undefined) this.#closed = true
      const closed = new Promise<void>((resolve, reject) => {
        void close.call(target, (error) => {
          const failed = error ?? this.#unheard
          if (failed) reject(failed)
          else resolve()
        })
      })
      if (callback === undefined) return closed
      closed.then(() => callback(), callback)
      return undefined
    }
  }
}

function writeCommit(connection: DriverConnection): void {
  connection.parse({ text: 'commit', name: '' })
  connection.bind({ portal: '', statement: '' })
  connection.execute({ portal: '' })
  connection.flush()
}
