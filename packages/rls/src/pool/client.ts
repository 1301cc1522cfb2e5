import type { PoolClient } from 'pg'
import { bindCallback, runDetached } from '../context/rls-context.ts'
import { createBoundListeners } from './bound-listeners.ts'
import type { DriverCallback } from '../wire/driver.ts'
import type { Submittable } from './bound-submittable.ts'
import { submitExplicitly } from './explicit.ts'
import { runStatement, type Statement } from './run-statement.ts'
import { statusOf, type Session } from './session.ts'

/**
 * One holder's view of a connection: `query`, `release` and the listeners are ours, everything else is the
 * connection's own. Every callback runs in the async context that gave it. Once released, the view refuses
 * further work, whoever holds the connection then.
 */
export function createRlsClient(session: Session): PoolClient {
  const { client } = session
  const bound = new Map<PropertyKey, unknown>()
  const listeners = createBoundListeners(client, () => view)
  let released = false
  const own: Readonly<Record<PropertyKey, unknown>> = {
    ...listeners.methods,
    query: (...args: QueryArguments) => query(session, args, released),
    release: (destroy?: Error | boolean) => {
      if (released) throw new Error('Release called on client which has already been released to the pool.')
      released = true
      listeners.removeAll()
      release(session, destroy)
    },
    getTransactionStatus: () => (session.transaction === undefined ? statusOf(client) : 'T'),
  }
  const view: PoolClient = new Proxy(client, {
    get(target, key) {
      const ours = Object.hasOwn(own, key) ? own[key] : undefined
      if (ours !== undefined) return ours
      const ready = bound.get(key)
      if (ready !== undefined) return ready
      const value: unknown = Reflect.get(target, key, target)
      if (typeof value !== 'function') return value
      const method = (...args: unknown[]): unknown => {
        const result: unknown = Reflect.apply(value, target, args.map(bindCallback))
        return result === target ? view : result
      }
      bound.set(key, method)
      return method
    },
    set: (target, key, value) => Reflect.set(target, key, value, target),
  })
  return view
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
    whenIdle(client, () => release(session))
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

function whenIdle(client: PoolClient, then: () => void): void {
  const settled = (): void => {
    client.removeListener('drain', settled)
    client.removeListener('end', settled)
    then()
  }
  client.on('drain', settled)
  client.on('end', settled)
}
