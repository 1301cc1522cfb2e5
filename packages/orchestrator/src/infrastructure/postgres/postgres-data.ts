import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Environment } from '../environment.ts'
import { serverEnvironment } from '../environment.ts'
import { InfrastructureError } from '../errors.ts'
import { exists, publish, type PostgresBinaries } from './postgres-binaries.ts'
import { giveTo, type ServerUser } from '../server-user.ts'

const accessRules = [
  '# Written by quintet: passwords only, from this machine only.',
  'host all all 127.0.0.1/32 scram-sha-256',
  '',
].join('\n')

/** One collation on every machine: code points, compared by PostgreSQL itself. */
const initdbArguments = [
  '--username=postgres',
  '--auth=trust',
  '--encoding=UTF8',
  '--locale=C',
  '--locale-provider=builtin',
  '--builtin-locale=C.UTF-8',
  '--no-sync',
  '--no-instructions',
]

export interface PostgresDataOptions {
  readonly binaries: PostgresBinaries
  readonly user: ServerUser | undefined
  readonly env: Environment
  /** Holds `data/` and `superuser.json`. */
  readonly directory: string
  readonly durable: boolean
}

/**
 * Makes the data folder if there is none, and returns the superuser's password.
 *
 * A new one is a copy of a template that `initdb` made once, with a random password of its own that is set
 * before the server listens for the first time.
 *
 * @throws InfrastructureError `ERR_INFRASTRUCTURE_DATA_DIRECTORY` when what lies there cannot be used.
 */
export async function preparePostgresData(options: PostgresDataOptions): Promise<string> {
  const data = join(options.directory, 'data')
  if (await existsOrRefuse(data)) {
    await assertUsable(options, data)
    return readPassword(options.directory)
  }
  const template = await prepareTemplate(options)
  const password = randomBytes(24).toString('base64url')
  const building = join(options.directory, 'data.new')
  await rm(building, { recursive: true, force: true })
  await run('cp', ['-a', '--', template, building])
  try {
    await setPassword(options, building, password)
    if (options.durable) await runAs(options, options.binaries.initdb, ['--sync-only', '-D', building])
  } catch (cause) {
    // A template that does not start is made afresh the next time.
    await rm(template, { recursive: true, force: true })
    throw cause
  }
  const file = join(options.directory, 'superuser.json')
  await writeFile(file, JSON.stringify({ user: 'postgres', password }), { mode: 0o600 })
  await rename(building, data)
  return password
}

async function prepareTemplate(options: PostgresDataOptions): Promise<string> {
  const owner = options.user?.uid ?? process.getuid?.() ?? 'user'
  const template = join(options.binaries.directory, `template-${owner}`)
  if (await exists(template)) return template
  const building = `${template}.${randomBytes(4).toString('hex')}`
  await mkdir(building, { mode: 0o700 })
  try {
    await giveTo(options.user, building)
    // Local trust holds until the access rules below replace it; no server has listened by then.
    await runAs(options, options.binaries.initdb, [...initdbArguments, '-D', building])
    await writeFile(join(building, 'pg_hba.conf'), accessRules)
    await publish(building, template)
  } catch (error) {
    await rm(building, { recursive: true, force: true })
    throw error
  }
  return template
}

/** In single-user mode: no client can connect while it runs. The password travels on standard input. */
async function setPassword(options: PostgresDataOptions, data: string, password: string): Promise<void> {
  const args = ['--single', '-D', data, '-c', 'fsync=off', 'postgres']
  await runAs(options, options.binaries.postgres, args, `alter role postgres password '${password}'\n`)
}

async function existsOrRefuse(data: string): Promise<boolean> {
  try {
    return await exists(data)
  } catch (cause) {
    throw unusable(data, `it cannot be read (${(cause as NodeJS.ErrnoException).code})`, cause)
  }
}

async function assertUsable(options: PostgresDataOptions, data: string): Promise<void> {
  let version: string
  try {
    version = (await readFile(join(data, 'PG_VERSION'), 'utf8')).trim()
  } catch (cause) {
    const reason =
      (cause as NodeJS.ErrnoException).code === 'ENOENT'
        ? 'it holds no PostgreSQL data (PG_VERSION is missing)'
        : `it cannot be read (${(cause as NodeJS.ErrnoException).code})`
    throw unusable(data, reason, cause)
  }
  const ours = options.binaries.version.split('.')[0]
  if (version !== ours) throw unusable(data, `it was made by PostgreSQL ${version}, and this is ${ours}`)
}

/** The superuser's, of a folder that has data. */
export async function readPassword(directory: string): Promise<string> {
  const file = join(directory, 'superuser.json')
  try {
    const { password } = JSON.parse(await readFile(file, 'utf8')) as { password?: unknown }
    if (typeof password === 'string' && password !== '') return password
    throw new Error('it holds no password')
  } catch (cause) {
    throw unusable(directory, `the superuser's password cannot be read from ${file}`, cause)
  }
}

function unusable(path: string, reason: string, cause?: unknown): InfrastructureError {
  return new InfrastructureError(
    `The PostgreSQL data folder ${path} cannot be used: ${reason}. Restore it, move it away to start empty, or choose another folder.`,
    { code: 'ERR_INFRASTRUCTURE_DATA_DIRECTORY', cause },
  )
}

function runAs(
  options: PostgresDataOptions,
  command: string,
  args: readonly string[],
  input = '',
): Promise<void> {
  return run(command, args, input, { cwd: '/', env: serverEnvironment(options.env), ...options.user })
}

function run(command: string, args: readonly string[], input = '', settings: object = {}): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = execFile(command, args, { ...settings, encoding: 'utf8' }, (error, stdout, stderr) => {
      if (!error) return resolve()
      const output = `${stdout}\n${stderr}`.trim().split('\n').slice(-5).join('\n')
      const message = `${command} failed${error.code === undefined ? '' : ` (${error.code})`}:\n${output || error.message}`
      reject(new InfrastructureError(message, { code: 'ERR_INFRASTRUCTURE_START_FAILED' }))
    })
    child.stdin?.on('error', () => undefined)
    child.stdin?.end(input)
  })
}
