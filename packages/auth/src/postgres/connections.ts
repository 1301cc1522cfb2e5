import { createHash } from 'node:crypto'
import { within, type Clock } from '@quintet/core/kit'
import { escapeId, type UserRef } from '../sessions/session-keys.ts'
import type { SessionTransaction } from '../sessions/session-store.ts'
import { runWithin } from './run-within.ts'

/** What is needed of a pool; that of `pg` fits. Its user must see all sessions, whatever their tenant. */
export interface PostgresPool {
  connect(): Promise<PostgresConnection>
}

export interface PostgresConnection {
  query(config: {
    readonly text: string
    readonly values: unknown[]
    readonly query_timeout: number
  }): Promise<{ readonly rows: unknown[] }>
  /** With true the connection is not used again. */
  release(destroy?: boolean): void
}

/** The time, from the first parameter or, where that is null, from PostgreSQL. */
export const now = `coalesce($1::bigint, (extract(epoch from clock_timestamp()) * 1000)::bigint)`

/** Runs one statement. */
export type RunStatement = <Row>(text: string, values: readonly unknown[]) => Promise<Row[]>

/** The statements of one transaction. */
export interface Statements {
  /** With the time, or null, as first parameter. */
  readonly query: RunStatement
  /** Without. */
  readonly run: RunStatement
}

/** Runs steps of one or more statements in bounded time. */
export class Connections {
  readonly #pool: PostgresPool
  readonly #timeout: number
  readonly #clock: Clock | undefined

  /** `timeout` in milliseconds, for the statements of one step and for the wait for a connection. */
  constructor(pool: PostgresPool, timeout: number, clock: Clock | undefined) {
    this.#pool = pool
    this.#timeout = timeout
    this.#clock = clock
  }

  /** Runs one statement. It commits or does not, also after the caller was told that it took too long. */
  run<Row>(text: string, values: readonly unknown[]): Promise<Row[]> {
    return this.#use((statement) => statement<Row>(text, values))
  }

  /** As `run`, with the time, or null, as first parameter. */
  query<Row>(text: string, values: readonly unknown[]): Promise<Row[]> {
    return this.run(text, [this.#time(), ...values])
  }

  /**
   * Runs a transaction. It is committed only by a caller who still
   * waits for it: what is given up before is rolled back, whenever the server gets to it. Transactions over one user's
   * sessions take turns, so that whoever comes after one of unknown outcome sees what has become of it.
   */
  transaction<T>(user: UserRef, steps: (statements: Statements) => Promise<T>): Promise<T> {
    return this.#use(async (statement) => {
      await statement('begin', [])
      await statement("select set_config('statement_timeout', $1, true), pg_advisory_xact_lock($2)", [
        String(Math.ceil(this.#timeout)),
        lockOf(user),
      ])
      const result = await steps(this.#statements(statement))
      await statement('commit', [])
      return result
    })
  }

  /** The statements of a transaction that is the caller's to begin, to bound and to commit. */
  within(transaction: SessionTransaction): Statements {
    return this.#statements((text, values) => runWithin(transaction, text, values))
  }

  #statements(run: RunStatement): Statements {
    return { run, query: (text, values) => run(text, [this.#time(), ...values]) }
  }

  #time(): number | null {
    return this.#clock === undefined ? null : Math.floor(this.#clock.now())
  }

  async #use<T>(step: (statement: RunStatement) => Promise<T>): Promise<T> {
    const connection = await this.#connect()
    const until = performance.now() + this.#timeout
    let failed = true
    try {
      const result = await step(async <Row>(text: string, values: readonly unknown[]) => {
        const left = Math.max(1, Math.ceil(until - performance.now()))
        const { rows } = await connection.query({ text, values: [...values], query_timeout: left })
        return rows as Row[]
      })
      failed = false
      return result
    } finally {
      // After a failure a statement may still run or a transaction be open, or the connection be lost.
      connection.release(failed)
    }
  }

  /** A connection, or the failure that none was free in time: what is not sent by then is never sent. */
  async #connect(): Promise<PostgresConnection> {
    const connecting = this.#pool.connect()
    try {
      return await within(this.#timeout, connecting, `No connection was free within ${this.#timeout} ms.`)
    } catch (error) {
      connecting.then(
        (connection) => connection.release(),
        () => undefined,
      )
      throw error
    }
  }
}

/** The key of an advisory lock, as a signed 64-bit number. */
function lockOf({ tenantId, userId }: UserRef): string {
  const digest = createHash('sha256')
    .update(`quintet:sessions:${escapeId(tenantId)}:${escapeId(userId)}`)
    .digest()
  return digest.readBigInt64BE().toString()
}
