import type { PoolClient } from 'pg'
import type { DriverCallback } from './driver.ts'
import { submitExplicitly, type Submittable } from './explicit.ts'
import { runStatement, type Statement } from './run-statement.ts'
import type { Session } from './session.ts'

/** Wraps a connection: `query` and `release` are ours, everything else is the connection's own. */
export function createRlsClient(session: Session): PoolClient {
  const { client } = session
  const bound = new Map<PropertyKey, unknown>()
  const own: Readonly<Record<PropertyKey, unknown>> = {
    query: (...args: QueryArguments) => query(session, args),
    release: (destroy?: Error | boolean) => release(session, destroy),
    getTransactionStatus: () => (session.begin === undefined ? statusOf(client) : 'T'),
  }
  return new Proxy(client, {
    get(target, key) {
      const ours = own[key]
      if (ours !== undefined) return ours
      const ready = bound.get(key)
      if (ready !== undefined) return ready
      const value: unknown = Reflect.get(target, key, target)
      if (typeof value !== 'function') return value
      const method: unknown = value.bind(target)
      bound.set(key, method)
      return method
    },
    set: (target, key, value) => Reflect.set(target, key, value, target),
  })
}

export type QueryArguments = readonly [config?: unknown, values?: unknown, callback?: unknown]

/** Reads the forms in which pg takes a statement. */
export function readArguments(args: QueryArguments): {
  statement: Statement
  callback: DriverCallback | undefined
} {
  const [config, values, callback] = args
  const isText = typeof config === 'string'
  if (
    !isText &&
    (typeof config !== 'object' || config === null || typeof (config as { text?: unknown }).text !== 'string')
  ) {
    throw new TypeError('query: give the statement as text, or as an object with text and values.')
  }
  const given = typeof values === 'function' ? values : callback
  return {
    statement: {
      config: config as Statement['config'],
      values: typeof values === 'function' ? undefined : (values as Statement['values']),
    },
    callback: given as DriverCallback | undefined,
  }
}

export function isSubmittable(config: unknown): config is Submittable {
  return typeof (config as { submit?: unknown } | undefined)?.submit === 'function'
}

function query(session: Session, args: QueryArguments): unknown {
  const [config] = args
  if (isSubmittable(config)) {
    submitExplicitly(session, config)
    return config
  }
  const { statement, callback } = readArguments(args)
  if (callback) return void runStatement(session, statement, callback)
  return new Promise((resolve, reject) => {
    runStatement(session, statement, (error, result) => (error ? reject(error) : resolve(result)))
  })
}

/** Gives the connection back once it is idle, and destroys it when it would carry something to its next holder. */
function release(session: Session, destroy?: Error | boolean): void {
  const { client } = session
  if (destroy || session.streaming) {
    client.release(destroy || true)
    return
  }
  session.begin = undefined
  if (session.tail !== undefined) {
    void session.tail.then(() => release(session))
    return
  }
  if (session.pending > 0 || !isIdle(client)) {
    whenIdle(client, () => release(session))
    return
  }
  client.release(session.tainted || (statusOf(client) ?? 'I') !== 'I')
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

export function statusOf(client: PoolClient): string | null | undefined {
  return (client as unknown as { getTransactionStatus?: () => string | null }).getTransactionStatus?.()
}
