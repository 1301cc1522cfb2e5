import type { ContextSettings } from '../context/settings.ts'
import { aheadStatements, contextMessages } from './context-message.ts'
import { hasOtherColumns } from '../sql/postgres-errors.ts'
import { noteStatement } from '../sql/statement-note.ts'
import type {
  DriverCallback,
  DriverConnection,
  DriverQuery,
  DriverQueryClass,
  RowDescription,
} from './driver.ts'
import {
  beginName,
  nameOf,
  statementNames,
  type NamedStatement,
  type StatementNames,
} from './statement-names.ts'
import type { StatementTraits } from './statement-text.ts'

/** Decides what travels ahead of one statement, under the same Sync, and is told what became of it. */
export interface StatementPlan {
  /** Called as the statement is written, before the members below are read. */
  take(): void
  /** A BEGIN that was held back until the first statement. */
  readonly begin: string | undefined
  readonly settings: ContextSettings | undefined
  /** Whether the state that another user of the session may have left must go first. */
  readonly seal: boolean
  /** Whether the statement is a transaction of its own. */
  readonly alone: boolean
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
  /** Whether it was prepared earlier, and the error may say that this does not hold any more. */
  isOutdatedBy(error: Error): boolean
}

export interface ContextQueryClass {
  new (
    plan: StatementPlan,
    traits: StatementTraits,
    config: object | string,
    values?: readonly unknown[],
    callback?: DriverCallback,
  ): ContextQuery
  /** The tables have changed, so that every connection prepares its statements anew. */
  tablesChanged(): void
}

/**
 * A query that writes BEGIN and the context as statements of their own before itself, all under one
 * Sync: one round trip, and one transaction, which ends with the Sync unless a BEGIN opened it.
 */
export function defineContextQuery(Query: DriverQueryClass, options: ContextQueryOptions): ContextQueryClass {
  const { preparedStatements, maxPreparedStatements } = options
  let changes = 0

  return class ContextQuery extends Query {
    static tablesChanged(): void {
      changes++
    }

    readonly #plan: StatementPlan
    readonly #traits: StatementTraits
    /** The name that the caller has given. */
    readonly #given: string | undefined
    /** The name of ours. */
    readonly #ours: string | undefined
    /** The answers before ours that are still to come: first that of BEGIN, then those of the context. */
    #beginAhead = false
    #ahead = 0
    #began = false
    #reused = false
    /** The Binds that were written under its Sync, of which its own is the last. */
    #binds = 0
    #names: StatementNames | undefined
    #statement: NamedStatement | undefined
    #parsedNow: NamedStatement[] | undefined
    /** The description of the rows, where it is known and was not asked for. */
    #known: RowDescription | null | undefined
    #failed = false

    constructor(
      plan: StatementPlan,
      traits: StatementTraits,
      config: object | string,
      values?: readonly unknown[],
      callback?: DriverCallback,
    ) {
      super(config, values, callback)
      this.#plan = plan
      this.#traits = traits
      this.#given = this.name || undefined
      if (!preparedStatements || this.#given !== undefined) return
      this.#ours = nameOf(traits, this.text, this.values?.length ?? 0)
      // Tracing adds a comment of its own to each execution of a statement without a name.
      this.name = this.#ours
    }

    override submit(connection: DriverConnection): Error | null {
      // The driver compares texts under a name, to which tracing may have added.
      this.name = this.#given
      return super.submit(connection)
    }

    isOutdatedBy(error: Error): boolean {
      return this.#reused ? isOutdated(error, this.#mayHaveRun) : isGone(error)
    }

    /** Whether PostgreSQL has taken its values and gone on to carry it out. */
    get #mayHaveRun(): boolean {
      return this.#names === undefined || this.#names.bound >= this.#binds
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
      if (names.changes !== changes) {
        names.changes = changes
        names.doubtAll()
      }
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
        described.bind({
          portal: '',
          statement: this.#parse(names, beginName(begin), begin, 'ours'),
          binary: false,
        })
        described.execute({ portal: '' })
        this.#beginAhead = true
        this.#binds++
      }
      if (settings !== undefined) {
        const statements = seal ? aheadStatements.sealing : aheadStatements.context
        if (preparedStatements)
          for (const { text, name } of statements) this.#parse(names, name, text, 'given')
        described.stream.write(contextMessages(settings, seal, preparedStatements))
        this.#ahead = statements.length
        this.#binds += statements.length
      }
    }

    #writeOwn(names: StatementNames): void {
      this.#binds++
      // Once its table has another column, a statement that reads them all cannot be repeated within a transaction.
      const ours = this.#traits.readsAllColumns && !this.#plan.alone ? undefined : this.#ours
      const name = this.#given ?? ours
      if (name === undefined) {
        this.name = undefined
        super.prepare(names.described)
        return
      }
      const statement = names.take(name, this.text, this.#given === undefined ? 'ours' : 'given')
      this.#statement = statement
      this.#reused = statement.state === 'parsed'
      this.name = name
      this.#known = this.binary ? undefined : statement.rows
      super.prepare(this.#known === undefined ? names.described : names.undescribed)
      // A value that cannot be sent fails within prepare, which then has closed the statement.
      if (this.#failed) statement.state = 'doubtful'
      else if (statement.state === 'new') this.#markParsed(statement)
    }

    /** Parses a statement that goes ahead of ours, unless the connection knows it; returns its name. */
    #parse(names: StatementNames, name: string, text: string, origin: 'ours' | 'given'): string {
      if (!preparedStatements) {
        names.described.parse({ text, name: '' })
        return ''
      }
      const statement = names.take(name, text, origin)
      if (statement.state === 'new') {
        names.described.parse({ text, name })
        this.#markParsed(statement)
      }
      return name
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
      const { text } = message as { text?: string }
      if (text === 'DEALLOCATE ALL' || text === 'DEALLOCATE') this.#names?.doubtAll()
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
      if (this.#statement && this.isOutdatedBy(error)) this.#statement.state = 'doubtful'
      if (hasOtherColumns(error)) changes++
      if (isGone(error)) this.#names?.doubtAll()
      this.#failed = true
      this.#plan.failed(this.#began)
      noteStatement(error, this.text)
      super.handleError(error, connection)
    }
  }
}

/**
 * Whether a prepared statement may have failed because of what has changed since: its rows are others now (0A000), its
 * parameters still have the types of before (22003, 22P02, 42804), or it is gone. PostgreSQL finds the types at Bind: what
 * fails later has run, and may have done what no rollback takes back.
 */
function isOutdated(error: Error, mayHaveRun: boolean): boolean {
  const { code } = error as { code?: unknown }
  const ofTypes = code === '22003' || code === '22P02' || code === '42804'
  return (ofTypes && !mayHaveRun) || hasOtherColumns(error) || isGone(error)
}

/** Whether a name is not known to PostgreSQL, since a function has taken it back with DEALLOCATE. */
function isGone(error: Error): boolean {
  return (error as { code?: unknown }).code === '26000'
}
