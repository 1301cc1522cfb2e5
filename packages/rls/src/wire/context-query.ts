import type { ContextSettings } from '../context/settings.ts'
import { aheadStatements, contextMessages } from './context-message.ts'
import { noteStatement } from '../sql/statement-note.ts'
import type {
  DriverCallback,
  DriverConnection,
  DriverQuery,
  DriverQueryClass,
  RowDescription,
} from './driver.ts'
import { statementNames, type NamedStatement, type StatementNames } from './statement-names.ts'

/** Decides what travels ahead of one statement, under the same Sync, and is told what became of it. */
export interface StatementPlan {
  /** Called as the statement is written, before the members below are read. */
  take(): void
  /** A BEGIN that was held back until the first statement. */
  readonly begin: string | undefined
  readonly settings: ContextSettings | undefined
  /** Whether the state that another user of the session may have left must go first. */
  readonly seal: boolean
  /** PostgreSQL has carried out BEGIN. */
  begun(): void
  /** PostgreSQL has carried out the statement. */
  done(): void
  /** Something failed, on either side of the wire. */
  failed(began: boolean): void
}

export interface ContextQueryOptions {
  readonly preparedStatements: boolean
  readonly maxPreparedStatements: number
}

export interface ContextQuery extends DriverQuery {
  /** Whether it ran under a name that an earlier one had prepared. */
  readonly reused: boolean
}

export type ContextQueryClass = new (
  plan: StatementPlan,
  config: object | string,
  values?: readonly unknown[],
  callback?: DriverCallback,
) => ContextQuery

/**
 * A query that writes BEGIN and the context as statements of their own before itself, all under one
 * Sync: one round trip, and one transaction, which ends with the Sync unless a BEGIN opened it.
 */
export function defineContextQuery(Query: DriverQueryClass, options: ContextQueryOptions): ContextQueryClass {
  const { preparedStatements, maxPreparedStatements } = options

  return class ContextQuery extends Query {
    readonly #plan: StatementPlan
    /** The answers before ours that are still to come: first that of BEGIN, then those of the context. */
    #beginAhead = false
    #ahead = 0
    #began = false
    reused = false
    #names: StatementNames | undefined
    #statement: NamedStatement | undefined
    #parsedNow: NamedStatement[] | undefined
    /** The description of the rows, where it is known and was not asked for. */
    #known: RowDescription | null | undefined
    #failed = false

    constructor(
      plan: StatementPlan,
      config: object | string,
      values?: readonly unknown[],
      callback?: DriverCallback,
    ) {
      super(config, values, callback)
      this.#plan = plan
    }

    override requiresPreparation(): boolean {
      return true
    }

    override hasBeenParsed(): boolean {
      return this.#statement !== undefined && this.#statement.state === 'parsed'
    }

    override prepare(connection: DriverConnection): void {
      const names = statementNames(connection, maxPreparedStatements)
      this.#names = names
      try {
        this.#writeAhead(names)
        this.#writeOwn(names)
      } finally {
        names.send()
      }
    }

    #writeAhead(names: StatementNames): void {
      const plan = this.#plan
      plan.take()
      const { begin, settings, seal } = plan
      const { described } = names
      if (begin !== undefined) {
        described.bind({ portal: '', statement: this.#parse(names, begin), binary: false })
        described.execute({ portal: '' })
        this.#beginAhead = true
      }
      if (settings !== undefined) {
        const statements = seal ? aheadStatements.sealing : aheadStatements.context
        if (preparedStatements) for (const { text, name } of statements) this.#parse(names, text, name)
        described.stream.write(contextMessages(settings, seal, preparedStatements))
        this.#ahead = statements.length
      }
    }

    #writeOwn(names: StatementNames): void {
      if (!preparedStatements && !this.name) {
        super.prepare(names.described)
        return
      }
      const statement = names.take(this.text, this.name || undefined)
      this.#statement = statement
      this.reused = statement.state === 'parsed'
      this.name = statement.name
      this.#known = this.binary ? undefined : statement.rows
      super.prepare(this.#known === undefined ? names.described : names.undescribed)
      // A value that cannot be sent fails within prepare, which then has closed the statement.
      if (this.#failed) statement.state = 'doubtful'
      else if (statement.state === 'new') this.#markParsed(statement)
    }

    /** Parses a statement that goes ahead of ours, unless the connection knows it; returns its name. */
    #parse(names: StatementNames, text: string, givenName?: string): string {
      if (!preparedStatements) {
        names.described.parse({ text, name: '' })
        return ''
      }
      const statement = names.take(text, givenName)
      if (statement.state === 'new') {
        names.described.parse({ text, name: statement.name })
        this.#markParsed(statement)
      }
      return statement.name
    }

    #markParsed(statement: NamedStatement): void {
      statement.state = 'parsed'
      ;(this.#parsedNow ??= []).push(statement)
    }

    override handleRowDescription(message: RowDescription): void {
      if (this.#statement && !this.binary) this.#statement.rows = message
      super.handleRowDescription(message)
    }

    override handleDataRow(message: unknown): void {
      if (this.#ahead > 0) return
      this.#describe()
      super.handleDataRow(message)
    }

    override handleCommandComplete(message: unknown, connection: DriverConnection): void {
      if (this.#beginAhead) {
        this.#beginAhead = false
        this.#began = true
        this.#plan.begun()
        return
      }
      if (this.#ahead > 0) {
        this.#ahead--
        return
      }
      this.#plan.done()
      this.#describe()
      // It was asked for its rows and has none.
      if (this.#statement && this.#statement.rows === undefined && !this.binary) this.#statement.rows = null
      super.handleCommandComplete(message, connection)
    }

    /** Tells the result its columns before the first row, as the description would have. */
    #describe(): void {
      const known = this.#known
      if (!known) return
      this.#known = null
      super.handleRowDescription(known)
    }

    /** There is nothing to copy from. The server has ignored the Sync that came before it asked. */
    override handleCopyInResponse(connection: DriverConnection): void {
      super.handleCopyInResponse(connection)
      connection.sync()
    }

    override handleError(error: Error, connection: DriverConnection): void {
      for (const statement of this.#parsedNow ?? []) statement.state = 'doubtful'
      // Outdated by a change of its table, or gone with a DISCARD or DEALLOCATE.
      const { code } = error as { code?: unknown }
      if (this.reused && this.#statement && isOutdated(error)) this.#statement.state = 'doubtful'
      if (code === '26000') this.#names?.doubtAll()
      this.#failed = true
      this.#plan.failed(this.#began)
      noteStatement(error, this.text)
      super.handleError(error, connection)
    }
  }
}

/**
 * Whether a prepared statement may have failed because a table has changed since: its rows are others now
 * (0A000), or its parameters still have the types of before (22003, 22P02, 42804).
 */
export function isOutdated(error: Error): boolean {
  const { code, routine } = error as { code?: unknown; routine?: unknown }
  if (code === '0A000') return routine === 'RevalidateCachedQuery'
  return code === '22003' || code === '22P02' || code === '42804'
}
