import { randomBytes } from 'node:crypto'
import type { DriverConnection, RowDescription } from './driver.ts'

/** Differs between copies of this package, so that two of them never name alike on one connection. */
export const namePrefix: string = `q${randomBytes(3).toString('hex')}_`

/** One prepared statement of one connection. */
export interface NamedStatement {
  readonly name: string
  /** `doubtful`: a Parse was sent and its round trip failed, so that it is unknown whether the name exists. */
  state: 'new' | 'parsed' | 'doubtful'
  /**
   * What PostgreSQL said about its rows: null for none, undefined as long as it has not been asked. It holds
   * as long as the statement does, since PostgreSQL refuses (0A000) to run one whose rows have changed.
   */
  rows: RowDescription | null | undefined
}

/** The prepared statements of one connection, of which the least recently used give way. */
export interface StatementNames {
  /** The connection, whose messages wait for `send`. */
  readonly described: DriverConnection
  /** The same, which does not ask for a description. */
  readonly undescribed: DriverConnection
  /** Writes all messages at once: one write costs less than several, even corked ones. */
  send(): void
  /**
   * The statement for a text, under the given name or one of ours. Writes Close for a name that must
   * go first.
   */
  take(text: string, name?: string): NamedStatement
  /** Which names exist is unknown from now on. */
  doubtAll(): void
}

const known = new WeakMap<DriverConnection, StatementNames>()

export function statementNames(connection: DriverConnection, limit: number): StatementNames {
  let names = known.get(connection)
  if (!names) {
    names = createStatementNames(connection, limit)
    known.set(connection, names)
  }
  return names
}

function createStatementNames(connection: DriverConnection, limit: number): StatementNames {
  const ours = new Map<string, NamedStatement>()
  const given = new Map<string, NamedStatement>()
  let serial = 0
  let messages: Buffer[] = []
  const stream = { writable: true, write: (message: Buffer) => messages.push(message) }
  const described = Object.create(connection, { stream: { value: stream } }) as DriverConnection

  const close = (name: string): void => {
    described.close({ type: 'S', name })
    delete connection.parsedStatements[name]
    delete connection.submittedNamedStatements[name]
  }
  const settle = (statement: NamedStatement): NamedStatement => {
    if (statement.state === 'doubtful') {
      close(statement.name)
      statement.state = 'new'
      statement.rows = undefined
    }
    return statement
  }

  return {
    doubtAll() {
      for (const statement of [...ours.values(), ...given.values()]) statement.state = 'doubtful'
    },
    described,
    undescribed: Object.create(described, { describe: { value: () => undefined } }) as DriverConnection,
    send() {
      if (connection.stream.writable) connection.stream.write(Buffer.concat(messages))
      messages = []
    },
    take(text, name) {
      if (name !== undefined) {
        let statement = given.get(name)
        if (!statement) given.set(name, (statement = { name, state: 'new', rows: undefined }))
        return settle(statement)
      }
      const ready = ours.get(text)
      if (ready) {
        // The order matters only once places are about to run out.
        if (ours.size * 2 > limit) {
          ours.delete(text)
          ours.set(text, ready)
        }
        return settle(ready)
      }
      if (ours.size >= limit) {
        const [oldestText, oldest] = ours.entries().next().value as [string, NamedStatement]
        ours.delete(oldestText)
        close(oldest.name)
      }
      const statement: NamedStatement = { name: `${namePrefix}${++serial}`, state: 'new', rows: undefined }
      ours.set(text, statement)
      return statement
    },
  }
}
