import type { PoolClient } from 'pg'
import { bindCallback, runDetached } from '../context/rls-context.ts'
import { changesListeners, createBoundListeners, type BoundListeners } from './bound-listeners.ts'
import type { DriverCallback } from '../wire/driver.ts'
import type { Submittable } from './bound-submittable.ts'
import { runStatement, type Statement } from './run-statement.ts'
import { statusOf, unansweredAfter, type Session } from './session.ts'
import { submitExplicitly } from './submit.ts'

/**
 * One holder's view of a connection: `query`, `release` and the listeners are ours, everything else is the
 * connection's own; what the holder changes of that, a parser or a property, keeps the connection from its next holder. Every callback runs in the async context that gave it. Once released, the view refuses
 * further work, whoever holds the connection then.
 */
export function createRlsClient(session: Session): PoolClient {
  const holder = new Holder(session)
  const view: PoolClient = new Proxy(session.client, holder)
  holder.view = view
  return view
}

/** What one holder's view does in place of the connection. Its methods are made when they are asked for. */
class Holder implements ProxyHandler<PoolClient> {
  readonly #session: Session
  view: PoolClient | undefined
  #released = false
  #listeners: BoundListeners | undefined
  #methods: Map<PropertyKey, unknown> | undefined

  constructor(session: Session) {
    this.#session = session
  }

  get(client: PoolClient, key: PropertyKey): unknown {
    const ready = this.#methods?.get(key)
    if (ready !== undefined) return ready
    const method = this.#own(key) ?? this.#bound(client, key)
    if (typeof method === 'function') (this.#methods ??= new Map()).set(key, method)
    return method
  }

  set(client: PoolClient, key: PropertyKey, value: unknown): boolean {
    this.#session.tainted = true
    return Reflect.set(client, key, value, client)
  }

  defineProperty(client: PoolClient, key: PropertyKey, property: PropertyDescriptor): boolean {
    this.#session.tainted = true
    return Reflect.defineProperty(client, key, property)
  }

  deleteProperty(client: PoolClient, key: PropertyKey): boolean {
    this.#session.tainted = true
    return Reflect.deleteProperty(client, key)
  }

  #own(key: PropertyKey): unknown {
    switch (key) {
      case 'query':
        return (...args: QueryArguments) => query(this.#session, args, this.#released)
      case 'release':
        return (destroy?: Error | boolean) => this.#release(destroy)
      case 'getTransactionStatus':
        return () => (this.#session.transaction === undefined ? statusOf(this.#session.client) : 'T')
      default:
        if (typeof key !== 'string' || !changesListeners.has(key)) return undefined
        this.#listeners ??= createBoundListeners(this.#session.client, () => this.view)
        return this.#listeners.methods[key]
    }
  }

  #bound(client: PoolClient, key: PropertyKey): unknown {
    const value: unknown = Reflect.get(client, key, client)
    if (typeof value !== 'function') return value
    return (...args: unknown[]): unknown => {
      if (key === 'setTypeParser') this.#session.tainted = true
      const result: unknown = Reflect.apply(value, client, args.map(bindCallback))
      return result === client ? this.view : result
    }
  }

  #release(destroy: Error | boolean | undefined): void {
    if (this.#released) {
      throw new Error('Release called on client which has already been released to the pool.')
    }
    this.#released = true
    this.#listeners?.removeAll()
    release(this.#session, destroy)
  }
}

export type QueryArguments = readonly [config?: unknown, values?: unknown, callback?: unknown]

/** What pg reads of a statement that is given as an object. */
interface StatementConfig {
  readonly text: string
  readonly values?: readonly unknown[]
  readonly name?: string
  readonly callback?: DriverCallback
  readonly rowMode?: string
  readonly types?: unknown
  readonly binary?: boolean
  readonly queryMode?: string
  readonly rows?: number
  readonly portal?: string
  readonly query_timeout?: number
}

/** Reads the forms in which pg takes a statement. The callback is bound to the calling code. */
export function readArguments(args: QueryArguments): {
  statement: Statement
  callback: DriverCallback | undefined
} {
  const [config, values, callback] = args
  if (typeof config !== 'string' && !isConfig(config)) {
    throw new TypeError('query: give the statement as text, or as an object with text and values.')
  }
  const last = typeof values === 'function' ? values : callback
  const given = last ?? (typeof config === 'string' ? undefined : config.callback)
  return {
    statement: {
      config: typeof config === 'string' ? config : copyConfig(config),
      values: typeof values === 'function' ? undefined : (values as Statement['values']),
    },
    callback: bindCallback(given as DriverCallback | undefined),
  }
}

function isConfig(config: unknown): config is StatementConfig {
  return (
    typeof config === 'object' && config !== null && typeof (config as { text?: unknown }).text === 'string'
  )
}

/** The driver writes to the object that it gets, and it may be used again. */
function copyConfig(config: StatementConfig): Statement['config'] {
  const { text, values, name, rowMode, types, binary, queryMode, rows, portal, query_timeout } = config
  return { text, values, name, rowMode, types, binary, queryMode, rows, portal, query_timeout } as {
    text: string
  }
}

export function isSubmittable(config: unknown): config is Submittable {
  return typeof (config as { submit?: unknown } | undefined)?.submit === 'function'
}

function query(session: Session, args: QueryArguments, released: boolean): unknown {
  const [config, ...rest] = args
  if (isSubmittable(config)) {
    if (released) throw wasReleased()
    const callback = rest.find((each) => typeof each === 'function')
    if (callback) config.callback ??= callback
    submitExplicitly(session, config)
    return config
  }
  const { statement, callback } = readArguments(args)
  const run = (settle: DriverCallback): void => {
    if (released) process.nextTick(settle, wasReleased())
    else runStatement(session, statement, settle)
  }
  if (callback) return run(callback)
  return new Promise((resolve, reject) => {
    run((error, result) => (error ? reject(error) : resolve(result)))
  })
}

function wasReleased(): Error {
  return new Error('The connection was released to the pool; take another one for further statements.')
}

/** Gives the connection back once it is idle, and destroys it when it would carry something to its next holder. */
export function release(session: Session, destroy?: Error | boolean): void {
  const { client } = session
  if (destroy || session.streaming) {
    giveBack(session, destroy || true)
    return
  }
  session.transaction = undefined
  if (session.tail !== undefined) {
    void session.tail.then(() => release(session))
    return
  }
  if (session.pending > 0 || !isIdle(client)) {
    whenIdle(session, (destroy) => release(session, destroy))
    return
  }
  giveBack(session, session.tainted || (statusOf(client) ?? 'I') !== 'I')
}

function giveBack(session: Session, destroy: Error | boolean): void {
  const { client, leave } = session
  session.leave = undefined
  runDetached(() => {
    client.release(destroy)
    leave?.()
  })
}

interface ConnectionState {
  readyForQuery?: boolean
  _queryable?: boolean
  _ending?: boolean
}

/** Whether the last answer has ended; true also for a connection that is lost. */
function isIdle(client: PoolClient): boolean {
  const state = client as unknown as ConnectionState
  return state.readyForQuery !== false || state._queryable === false || state._ending === true
}

/** Waits for the answers that are still owed; for one that its statement has given up, no longer than its time. */
function whenIdle(session: Session, then: (destroy: boolean) => void): void {
  const { client } = session
  const settle = (destroy: boolean): void => {
    clearInterval(timer)
    client.removeListener('drain', answered)
    client.removeListener('end', answered)
    then(destroy)
  }
  const answered = (): void => settle(false)
  const timer = setInterval(() => {
    if (session.pending === 0) settle(true)
  }, unansweredAfter)
  client.on('drain', answered)
  client.on('end', answered)
}
