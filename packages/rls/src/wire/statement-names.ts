import { hash, randomBytes } from 'node:crypto'
import type { DriverConnection, RowDescription } from './driver.ts'
import { longestRemembered, type StatementTraits } from './statement-text.ts'

/** Differs between copies of this package, so that two of them never name alike on one connection. */
export const namePrefix: string = `q${randomBytes(3).toString('hex')}_`

/** Values of a statement that is worth naming. More are mostly those of one batch of rows. */
const mostValues = 200

/** Characters of the statements that one connection keeps: PostgreSQL needs some twenty times as much for their plans. */
const mostCharacters = 262_144

let serial = 0

/**
 * The name under which a statement is prepared, the same on every connection; undefined for one that is not worth the
 * server's memory: a long one, or one that is seen for the first time.
 */
export function nameOf(traits: StatementTraits, text: string, values: number): string | undefined {
  if (traits.name !== undefined) return traits.name
  if (++traits.uses < 2 || text.length > longestRemembered || values > mostValues) return undefined
  traits.name = `${namePrefix}${++serial}`
  return traits.name
}

/** The name of a prepared BEGIN: of a text as it is only where PostgreSQL keeps all of it, since two that are cut are one. */
export function beginName(text: string): string {
  const name = namePrefix + text
  return Buffer.byteLength(name) < nameLimit
    ? name
    : `${namePrefix}begin ${hash('sha256', text).slice(0, 40)}`
}

/** NAMEDATALEN of PostgreSQL: a name has fewer bytes. */
const nameLimit = 64

/** One prepared statement of one connection. */
export interface NamedStatement {
  readonly name: string
  /** Characters of its text. */
  readonly length: number
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
  /** The statement of that name. Writes Close for a name that must go first. */
  take(name: string, text: string, origin: 'ours' | 'given'): NamedStatement
  /** It is not known any more which names exist, or whether they are up to date. */
  doubtAll(): void
  /** How many changes of the tables it has been told of. */
  changes: number
  /** How many Binds PostgreSQL has carried out since the last Sync that it has answered. */
  readonly bound: number
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
  let characters = 0
  let bound = 0
  connection.on('bindComplete', () => bound++)
  connection.on('readyForQuery', () => (bound = 0))
  let messages: Buffer[] = []
  const stream = { writable: true, write: (message: Buffer) => messages.push(message) }
  const described = Object.create(connection, { stream: { value: stream } }) as DriverConnection

  const close = (name: string): void => {
    described.close({ type: 'S', name })
    delete connection.parsedStatements[name]
    delete connection.submittedNamedStatements?.[name]
  }
  const settle = (statement: NamedStatement): NamedStatement => {
    if (statement.state === 'doubtful') {
      close(statement.name)
      statement.state = 'new'
      statement.rows = undefined
    }
    return statement
  }

  const keep = (name: string, length: number): NamedStatement => {
    characters += length
    for (const [oldest, { length: freed }] of ours) {
      if (ours.size < limit && characters <= mostCharacters) break
      ours.delete(oldest)
      characters -= freed
      close(oldest)
    }
    const statement: NamedStatement = { name, length, state: 'new', rows: undefined }
    ours.set(name, statement)
    return statement
  }

  return {
    changes: 0,
    get bound() {
      return bound
    },
    doubtAll() {
      for (const statement of [...ours.values(), ...given.values()]) statement.state = 'doubtful'
    },
    described,
    undescribed: Object.create(described, { describe: { value: () => undefined } }) as DriverConnection,
    send() {
      if (connection.stream.writable) connection.stream.write(Buffer.concat(messages))
      messages = []
    },
    take(name, text, origin) {
      const statements = origin === 'ours' ? ours : given
      const ready = statements.get(name)
      if (ready === undefined) {
        if (origin === 'ours') return keep(name, text.length)
        const statement: NamedStatement = { name, length: text.length, state: 'new', rows: undefined }
        given.set(name, statement)
        return statement
      }
      // The order matters only once places are about to run out.
      if (origin === 'ours' && (ours.size * 2 > limit || characters * 2 > mostCharacters)) {
        ours.delete(name)
        ours.set(name, ready)
      }
      return settle(ready)
    },
  }
}
