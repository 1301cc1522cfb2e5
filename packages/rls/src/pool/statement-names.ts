import { randomBytes } from 'node:crypto'
import type { DriverConnection } from './driver.ts'

/** Differs between copies of this package, so that two of them never name alike on one connection. */
const prefix = `q${randomBytes(3).toString('hex')}_`

/** The name of the context statement, the same on every connection. */
export const contextName: string = `${prefix}context`

/** One prepared statement of one connection. */
export interface NamedStatement {
  readonly name: string
  /** `doubtful`: a Parse was sent and its flight failed, so nobody knows whether the name exists. */
  state: 'new' | 'parsed' | 'doubtful'
}

/** The prepared statements of one connection, of which the least recently used give way. */
export interface StatementNames {
  /**
   * The statement for a text, under the given name or one of ours. Writes Close for a name that must
   * go first.
   */
  take(text: string, connection: DriverConnection, name?: string): NamedStatement
}

const known = new WeakMap<DriverConnection, StatementNames>()

export function statementNames(connection: DriverConnection, limit: number): StatementNames {
  let names = known.get(connection)
  if (!names) {
    names = createStatementNames(limit)
    known.set(connection, names)
  }
  return names
}

function createStatementNames(limit: number): StatementNames {
  const ours = new Map<string, NamedStatement>()
  const given = new Map<string, NamedStatement>()
  let serial = 0

  const close = (name: string, connection: DriverConnection): void => {
    connection.close({ type: 'S', name })
    delete connection.parsedStatements[name]
    delete connection.submittedNamedStatements[name]
  }
  const settle = (statement: NamedStatement, connection: DriverConnection): NamedStatement => {
    if (statement.state === 'doubtful') {
      close(statement.name, connection)
      statement.state = 'new'
    }
    return statement
  }

  return {
    take(text, connection, name) {
      if (name !== undefined) {
        let statement = given.get(name)
        if (!statement) given.set(name, (statement = { name, state: 'new' }))
        return settle(statement, connection)
      }
      const ready = ours.get(text)
      if (ready) {
        ours.delete(text)
        ours.set(text, ready)
        return settle(ready, connection)
      }
      if (ours.size >= limit) {
        const [oldestText, oldest] = ours.entries().next().value as [string, NamedStatement]
        ours.delete(oldestText)
        close(oldest.name, connection)
      }
      const statement: NamedStatement = { name: `${prefix}${++serial}`, state: 'new' }
      ours.set(text, statement)
      return statement
    },
  }
}
