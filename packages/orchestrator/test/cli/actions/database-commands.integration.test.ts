import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { binPath } from '../../../src/bin-path.ts'
import { startPostgres, type PostgresServer } from '../../../src/infrastructure.ts'

vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

let server: PostgresServer
let base: string
let project: string
/** The data folder that made the logins. */
let home: string
let databaseUrls: { readonly url: string; readonly ownerUrl: string }

beforeAll(async () => {
  base = await mkdtemp(join(tmpdir(), 'qt-'))
  // Below this package, whose dependencies it imports.
  project = await mkdtemp(join(import.meta.dirname, '../../fixtures/tmp-'))
  await mkdir(join(project, 'migrations'))
  await writeFile(
    join(project, 'quintet.config.ts'),
    `import { defineEcosystem } from '@quintet/core/ecosystem'
     export default defineEcosystem({ project: 'ledger', apps: [{ name: 'books', bootstrap: './books.ts' }] })`,
  )
  await writeFile(
    join(project, 'books.ts'),
    `import { defineProcess, defineSystem } from '@quintet/core'
     import { plainHttp } from '../plain-http.ts'
     const http = { name: 'http', module: async () => ({ default: defineProcess({}) }), transports: { http: plainHttp(0) } }
     export default defineSystem({ name: 'books', version: '1.0.0', processes: [http],
       requires: { postgres: true, migrations: './migrations' } })`,
  )
  await writeFile(
    join(project, 'migrations/0001-book.ts'),
    `import { sql } from 'kysely'
     export const up = (db) => sql\`create table book (name text primary key)\`.execute(db)
     export const down = (db) => sql\`drop table book\`.execute(db)`,
  )
  server = await startPostgres({ durable: false })
})
afterAll(async () => {
  await server.stop()
  await rm(project, { recursive: true, force: true })
  await rm(base, { recursive: true, force: true })
})

interface Answer {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function quintet(command: string, data = home, databaseUrl = server.url): Promise<Answer> {
  const config = join(project, 'quintet.config.ts')
  const args = [binPath, ...command.split(' '), '--config', config, '--data', data]
  const env = {
    PATH: process.env['PATH'],
    HOME: process.env['HOME'],
    NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
    NO_COLOR: '1',
    DATABASE_URL: databaseUrl,
  }
  return new Promise((resolve) => {
    execFile(process.execPath, args, { env }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr }),
    )
  })
}

async function query(text: string, url = server.url): Promise<readonly Record<string, unknown>[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query<Record<string, unknown>>(text)).rows
  } finally {
    await client.end()
  }
}

/** Every login with its stored password, and every table. */
async function catalogue(): Promise<unknown> {
  const roles = await query(
    `select rolname, rolpassword from pg_authid where rolname like 'ledger%' order by 1`,
  )
  const databases = await query(`select datname from pg_database where datname like 'ledger%' order by 1`)
  const url = new URL(server.url)
  url.pathname = '/ledger_books'
  const isThere = databases.some(({ datname }) => datname === 'ledger_books')
  const relations = isThere
    ? await query('select oid, relname, relacl from pg_class order by 1', url.href)
    : []
  return { roles, databases, relations }
}

/** A database as `db provision` makes it, with its migrations done. */
beforeEach(async () => {
  await query('drop database if exists ledger_books with (force)')
  for (const role of ['login', 'owner', 'system', 'tenant'])
    await query(`drop role if exists ledger_books_${role}`)
  home = await mkdtemp(join(base, 'home-'))
})

async function provision(): Promise<void> {
  const made = await quintet('db provision books --json')
  expect(made).toMatchObject({ code: 0 })
  const [books] = JSON.parse(made.stdout) as {
    readonly ownerUrl: string
    readonly environment: Record<string, string>
  }[]
  databaseUrls = {
    ownerUrl: books?.ownerUrl ?? '',
    url: books?.environment['BOOKS_DATABASE__URL'] ?? '',
  }
  expect(await query('select current_user::text as name', databaseUrls.url)).toEqual([
    { name: 'ledger_books_login' },
  ])
}

describe('quintet db provision', () => {
  it('is what makes logins; migrate status and up make none, and say how', async () => {
    const before = await catalogue()
    for (const command of ['migrate status', 'migrate up books', 'rls lint', 'settings list books']) {
      const answer = await quintet(command)
      expect(answer.code).toBe(1)
      if (!command.startsWith('settings')) expect(answer.stderr).toContain('"quintet db provision books"')
    }
    expect(await catalogue()).toEqual(before)
    expect(existsSync(join(home, 'secrets.json'))).toBe(false)
    await provision()
    expect(await quintet('migrate status')).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('0001-book') as string,
    })
  })

  it('changes no login that another data folder has made, however many try at once', async () => {
    await provision()
    const before = await catalogue()
    const others = await Promise.all([1, 2, 3].map(() => mkdtemp(join(base, 'other-'))))
    const answers = await Promise.all(
      others.flatMap((data) => [quintet('db provision', data), quintet('migrate status', data)]),
    )
    expect(answers.map(({ code }) => code)).toEqual([1, 1, 1, 1, 1, 1])
    expect(answers[0]?.stderr).toMatch(/The login ledger_books_\w+ exists with another password/)
    expect(await catalogue()).toEqual(before)
    expect(await query('select 1 as one', databaseUrls.url)).toEqual([{ one: 1 }])
  })

  it('gives all logins new passwords with --rotate, and keeps them', async () => {
    await provision()
    const old = databaseUrls.url
    expect(await quintet('db provision books --rotate')).toMatchObject({ code: 0 })
    await expect(query('select 1', old)).rejects.toMatchObject({ code: '28P01' })
    expect(await quintet('migrate up')).toMatchObject({ code: 0, stdout: 'books: up 0001-book\n' })
  })
})

describe('quintet migrate', () => {
  it('writes nothing with status', async () => {
    await provision()
    const before = await catalogue()
    expect(await quintet('migrate status books --json')).toMatchObject({ code: 0 })
    expect(await catalogue()).toEqual(before)
  })

  it('makes tables as the owner, also where the URL of the administrator names its user in the query', async () => {
    await provision()
    const url = new URL(server.url)
    url.searchParams.set('user', decodeURIComponent(url.username))
    url.searchParams.set('password', decodeURIComponent(url.password))
    Object.assign(url, { username: '', password: '' })
    expect(await quintet('migrate up books', home, url.href)).toMatchObject({ code: 0 })
    expect(
      await query("select tableowner from pg_tables where tablename = 'book'", databaseUrls.ownerUrl),
    ).toEqual([{ tableowner: 'ledger_books_owner' }])
  })

  it('takes an owner URL in place of a data folder', async () => {
    await provision()
    const elsewhere = join(base, 'never-made')
    const up = await quintet(`migrate up books --owner-url ${databaseUrls.ownerUrl}`, elsewhere)
    expect(up).toMatchObject({ code: 0, stdout: 'books: up 0001-book\n' })
    const again = await quintet(`migrate up books --owner-url ${databaseUrls.ownerUrl}`, elsewhere)
    expect(again).toMatchObject({ code: 0, stdout: 'books: nothing to do\n' })
    expect(existsSync(elsewhere)).toBe(false)
  })

  it('takes the last one back, but not from an app that is serving unless it is forced', async () => {
    await provision()
    await quintet('migrate up')
    const serving = new Client({ connectionString: databaseUrls.url })
    await serving.connect()
    const refused = await quintet('migrate down books')
    expect(refused).toMatchObject({ code: 1, stdout: '' })
    expect(refused.stderr).toContain('migrate down: "books" is serving (1 connections to its database)')
    expect(await quintet('migrate down books --force')).toMatchObject({
      code: 0,
      stdout: 'books: down 0001-book\n',
    })
    await serving.end()
    expect(await quintet('migrate down books')).toMatchObject({ code: 0, stdout: 'books: nothing to do\n' })
  })

  it('finds with check what would block the app in a pending one, with exit code 1', async () => {
    await provision()
    await quintet('migrate up')
    expect(await quintet('migrate check books')).toMatchObject({
      code: 0,
      stdout: 'books\nNothing blocks.\n',
    })
    const file = join(project, 'migrations/0002-index.sql')
    await writeFile(file, 'create index on book (name);')
    try {
      const found = await quintet('migrate check books')
      expect(found).toMatchObject({ code: 1, stdout: expect.stringContaining('blocking-index') as string })
      const lint = await quintet('rls lint books')
      expect(lint.stdout).toContain('Not compared with its migrations: 0002-index have not run.')
    } finally {
      await rm(file)
    }
  })

  it('takes the file for what has run with repair', async () => {
    await provision()
    await quintet('migrate up')
    const file = join(project, 'migrations/0001-book.ts')
    const text = await readFile(file, 'utf8')
    await writeFile(file, `${text}\n// Another comment.\n`)
    try {
      expect(await quintet('migrate up books')).toMatchObject({ code: 1 })
      expect(await quintet('migrate repair books')).toMatchObject({
        code: 0,
        stdout: 'books: repair 0001-book\n',
      })
      expect(await quintet('migrate up books')).toMatchObject({ code: 0 })
    } finally {
      await writeFile(file, text)
    }
  })

  it('writes an empty migration with new', async () => {
    const answer = await quintet('migrate new books authors --sql --json')
    expect(answer).toMatchObject({ code: 0, stderr: '' })
    const { path } = JSON.parse(answer.stdout) as { path: string }
    expect(path).toMatch(/migrations\/.*authors.*\.sql$/)
    expect(existsSync(path)).toBe(true)
    await rm(path)
  })
})

describe('quintet rls', () => {
  it('finds a table that every tenant reads, with exit code 1', async () => {
    await provision()
    await quintet('migrate up')
    expect(await quintet('rls lint')).toMatchObject({ code: 0 })
    await query('grant select on book to ledger_books_tenant', databaseUrls.ownerUrl)
    const answer = await quintet('rls lint books --json')
    expect(answer.code).toBe(1)
    expect(answer.stdout).toContain('book')
    expect(answer.stdout).toContain('policy-drift')
  })

  it('tells with diff what is open now that a snapshot has closed, with exit code 1', async () => {
    await provision()
    await quintet('migrate up')
    const snapshot = await quintet('rls snapshot books')
    expect(snapshot.code).toBe(0)
    const file = join(home, 'policies.json')
    await writeFile(file, snapshot.stdout)
    expect(await quintet(`rls diff books ${file}`)).toMatchObject({ code: 0 })
    await query('grant select on book to ledger_books_tenant', databaseUrls.ownerUrl)
    const answer = await quintet(`rls diff books ${file}`)
    expect(answer.code).toBe(1)
    expect(answer.stdout).toContain('ledger_books_tenant')
  })
})

describe('quintet db', () => {
  it('puts the rows of a backup back, but not under an app that is serving unless it is forced', async () => {
    await provision()
    await quintet('migrate up')
    const { ownerUrl, url } = databaseUrls
    await query(`insert into book values ('Emma')`, ownerUrl)
    const file = join(home, 'books.backup')
    expect(await quintet(`db backup books ${file}`)).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^books: \d+ tables, \d+ rows\n$/) as string,
    })
    expect((await readFile(file)).length).toBeGreaterThan(0)
    await query('delete from book', ownerUrl)
    const serving = new Client({ connectionString: url })
    await serving.connect()
    expect(await quintet(`db restore books ${file}`)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('"books" is serving') as string,
    })
    expect(await query('select name from book', ownerUrl)).toEqual([])
    expect(await quintet(`db restore books ${file} --force`)).toMatchObject({ code: 0 })
    expect(await query('select name from book', ownerUrl)).toEqual([{ name: 'Emma' }])
    await serving.end()
  })

  it('asks the supervisor, for an app that has no connection open at this moment', async () => {
    expect(await quintet('up')).toMatchObject({ code: 0 })
    try {
      const file = join(home, 'books.backup')
      expect(await quintet(`db backup books ${file}`)).toMatchObject({ code: 0 })
      for (const command of [`db restore books ${file}`, 'migrate down books']) {
        expect(await quintet(command)).toMatchObject({
          code: 1,
          stderr: expect.stringContaining('"books" is serving (its processes books/http run)') as string,
        })
      }
      expect(await quintet(`db restore books ${file} --force`)).toMatchObject({ code: 0 })
    } finally {
      await quintet('down')
    }
    expect(await quintet('migrate down books')).toMatchObject({ code: 0 })
  })
})
