import { EventEmitter } from 'node:events'

/** The part of pg's connection that a query writes to. */
export interface DriverConnection {
  parse(message: { text: string; name: string | undefined; types?: unknown }): void
  bind(message: object): void
  execute(message: object): void
  describe(message: object): void
  close(message: { type: 'S' | 'P'; name: string }): void
  sync(): void
  flush(): void
  query(text: string): void
  sendCopyFail(reason: string): void
  on(event: string, listener: () => void): unknown
  once(event: string, listener: () => void): unknown
  removeListener(event: string, listener: () => void): unknown
  readonly stream: { readonly writable: boolean; write(bytes: Buffer): unknown }
  parsedStatements: Record<string, string | undefined>
  /** Since pg 8.23. */
  submittedNamedStatements?: Record<string, string | undefined>
}

/** The columns of a result, as pg hands them to a query. */
export interface RowDescription {
  readonly fields: readonly unknown[]
}

export type DriverCallback = (error: Error | null | undefined, result?: unknown) => void

/** The part of pg's Query that {@link defineContextQuery} builds on. */
export interface DriverQuery extends EventEmitter {
  text: string
  name: string | undefined
  values: readonly unknown[] | undefined
  callback: DriverCallback | undefined
  binary: boolean | undefined
  requiresPreparation(): boolean
  hasBeenParsed(connection: DriverConnection): boolean
  submit(connection: DriverConnection): Error | null
  prepare(connection: DriverConnection): void
  handleRowDescription(message: RowDescription): void
  handleDataRow(message: unknown): void
  handleCommandComplete(message: unknown, connection: DriverConnection): void
  handleError(error: Error, connection: DriverConnection): void
  handleReadyForQuery(connection: DriverConnection): void
  handleCopyInResponse(connection: DriverConnection): void
}

export type DriverQueryClass = new (
  config: object | string,
  values?: readonly unknown[],
  callback?: DriverCallback,
) => DriverQuery

/** The query class of the driver that a pool uses, if it is one whose wire behaviour we know. */
export function findQueryClass(client: unknown): DriverQueryClass | undefined {
  const found = (client as { Query?: unknown } | undefined)?.Query
  if (typeof found !== 'function') return undefined
  return speaksAsExpected(found as DriverQueryClass) ? (found as DriverQueryClass) : undefined
}

const expectedTrace = [
  'parse:probe:select $1',
  'bind:probe',
  'describe',
  'execute',
  'sync',
  'callback:1',
].join(' ')

/**
 * Lets a query of the driver write to a recording connection and read an answer, and compares what it
 * did with what the context needs: so the version number need not be trusted.
 */
function speaksAsExpected(Query: DriverQueryClass): boolean {
  const trace: string[] = []
  const connection = Object.assign(new EventEmitter(), {
    stream: { writable: true, write: () => trace.push('write') },
    parsedStatements: {},
    submittedNamedStatements: {},
    parse: (message: { name: string; text: string }) => trace.push(`parse:${message.name}:${message.text}`),
    bind: (message: { statement: string }) => trace.push(`bind:${message.statement}`),
    execute: () => trace.push('execute'),
    describe: () => trace.push('describe'),
    close: () => trace.push('close'),
    sync: () => trace.push('sync'),
    flush: () => trace.push('flush'),
    query: () => trace.push('query'),
    sendCopyFail: () => trace.push('copy-fail'),
  })
  try {
    const query = new Query({ text: 'select $1', name: 'probe' }, ['x'], (error, result) => {
      trace.push(`callback:${error ? 'error' : String((result as { rows: unknown[] }).rows.length)}`)
    })
    query.submit(connection)
    query.handleRowDescription({
      fields: [{ name: 'x', dataTypeID: 25, format: 'text' }],
    })
    query.handleDataRow({ fields: ['x'] })
    query.handleCommandComplete({ text: 'SELECT 1' }, connection)
    query.handleReadyForQuery(connection)
    const methods = [
      'requiresPreparation',
      'hasBeenParsed',
      'prepare',
      'handleError',
      'handleCopyInResponse',
    ] as const
    return trace.join(' ') === expectedTrace && methods.every((name) => typeof query[name] === 'function')
  } catch {
    return false
  }
}
