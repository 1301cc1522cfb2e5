import { randomBytes } from 'node:crypto'
import { Client } from 'pg'

/** A database of its own for one test file, on the PostgreSQL that the test run has started. */
export interface TestDatabase extends AsyncDisposable {
  readonly name: string
  /** As superuser. */
  readonly url: string
  drop(): Promise<void>
}

/** The superuser URL of the PostgreSQL server of this test run. */
export function postgresUrl(): string {
  return required('DATABASE_URL')
}

/** Creates an empty database; drop it in `afterAll`. */
export async function createTestDatabase(): Promise<TestDatabase> {
  const name = `test_${randomBytes(6).toString('hex')}`
  await execute(`create database ${name}`)
  const url = new URL(postgresUrl())
  url.pathname = `/${name}`
  const drop = async (): Promise<void> => {
    await execute(`drop database if exists ${name} with (force)`)
  }
  return { name, url: url.href, drop, [Symbol.asyncDispose]: drop }
}

async function execute(statement: string): Promise<void> {
  const client = new Client({ connectionString: postgresUrl() })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}

function required(name: string): string {
  const value = process.env[name]
  if (value) return value
  throw new Error(
    `${name} is not set. Run the tests through vitest at the root, whose global setup starts the servers.`,
  )
}
