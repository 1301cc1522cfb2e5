import type { ContextSettings } from '../settings.ts'
import { contextStatement } from '../settings.ts'
import { noteStatement } from '../statement-note.ts'
import type { DriverCallback, DriverConnection, DriverQuery, DriverQueryClass } from './driver.ts'
import { statementNames, type NamedStatement } from './statement-names.ts'

/** What travels ahead of a statement, under the same Sync. */
export interface Flight {
  /** A BEGIN that was held back until the first statement. */
  readonly begin: string | undefined
  readonly settings: ContextSettings | undefined
}

export interface ContextQueryOptions {
  readonly preparedStatements: boolean
  readonly maxPreparedStatements: number
}

export type ContextQueryClass = new (
  flight: Flight,
  config: object | string,
  values?: readonly unknown[],
  callback?: DriverCallback,
) => DriverQuery

/**
 * A query that writes BEGIN and the context as statements of their own before itself, all under one
 * Sync: one round trip, and one transaction, which ends with the Sync unless a BEGIN opened it.
 */
export function defineContextQuery(Query: DriverQueryClass, options: ContextQueryOptions): ContextQueryClass {
  const { preparedStatements, maxPreparedStatements } = options

  return class ContextQuery extends Query {
    readonly #flight: Flight
    /** Statements ahead of ours whose answers are not ours. */
    #ahead: number
    #statement: NamedStatement | undefined
    #parsedNow: NamedStatement[] | undefined
    #failed = false

    constructor(flight: Flight, config: object | string, values?: readonly unknown[], callback?: DriverCallback) {
      super(config, values, callback)
      this.#flight = flight
      this.#ahead = (flight.begin === undefined ? 0 : 1) + (flight.settings === undefined ? 0 : 1)
    }

    override requiresPreparation(): boolean {
      return true
    }

    override hasBeenParsed(): boolean {
      return this.#statement !== undefined && this.#statement.state === 'parsed'
    }

    override prepare(connection: DriverConnection): void {
      const { begin, settings } = this.#flight
      if (begin !== undefined) this.#write(connection, begin, undefined)
      if (settings !== undefined) this.#write(connection, contextStatement, settings)
      if (preparedStatements || this.name) {
        const names = statementNames(connection, maxPreparedStatements)
        this.#statement = names.take(this.text, connection, this.name || undefined)
        this.name = this.#statement.name
      }
      super.prepare(connection)
      if (this.#statement === undefined) return
      // A value that cannot be sent fails within prepare, which then has closed the statement.
      if (this.#failed) this.#statement.state = 'doubtful'
      else if (this.#statement.state === 'new') this.#markParsed(this.#statement)
    }

    #write(connection: DriverConnection, text: string, values: ContextSettings | undefined): void {
      let name = ''
      if (preparedStatements) {
        const statement = statementNames(connection, maxPreparedStatements).take(text, connection)
        name = statement.name
        if (statement.state === 'new') {
          connection.parse({ text, name })
          this.#markParsed(statement)
        }
      } else {
        connection.parse({ text, name })
      }
      connection.bind({ portal: '', statement: name, values, binary: false })
      connection.execute({ portal: '' })
    }

    #markParsed(statement: NamedStatement): void {
      statement.state = 'parsed'
      ;(this.#parsedNow ??= []).push(statement)
    }

    override handleDataRow(message: unknown): void {
      if (this.#ahead === 0) super.handleDataRow(message)
    }

    override handleCommandComplete(message: unknown, connection: DriverConnection): void {
      if (this.#ahead === 0) super.handleCommandComplete(message, connection)
      else this.#ahead--
    }

    override handleError(error: Error, connection: DriverConnection): void {
      for (const statement of this.#parsedNow ?? []) statement.state = 'doubtful'
      this.#failed = true
      noteStatement(error, this.text)
      super.handleError(error, connection)
    }
  }
}
