import { createHash } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs'
import { homedir, platform, tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'
import { OrchestratorError } from '../errors.ts'
import { isRoot } from '../infrastructure/server-user.ts'

/** Where an ecosystem keeps what must survive a restart, and what belongs to one run. */
export interface StateDirectory {
  readonly root: string
  readonly postgres: string
  readonly redis: string
  readonly logs: string
  /** The sockets of the present run; only we may enter. */
  readonly run: string
  readonly secretsFile: string
  /** Of the holders, whose pipes are used by what outlives a supervisor. */
  readonly held: string
  /** What a supervisor holds. */
  readonly journalFile: string
  /** What a supervisor in the background was started with. */
  readonly daemonFile: string
}

/** The longest name that fits below `run` (`links/<app>.<process>.<n>.sock`) and the limit of a unix socket's path. */
const longestRun = 45

/**
 * Where the sockets of an ecosystem are: in its data folder, or below the home folder where that path is too long. The
 * shared temporary folder is the last resort: cleaners remove from it what is in use.
 */
function runDirectory(root: string): string {
  const name = hash(root).slice(0, 12)
  const places = [join(root, 'run'), join(homedir(), '.quintet', name)]
  return (
    places.find((place) => Buffer.byteLength(place) <= longestRun) ??
    join(tmpdir(), `quintet-${process.getuid?.() ?? 0}-${name}`)
  )
}

/**
 * Removes what an earlier run has left. Only for the holder of the lock.
 *
 * @param keepLinks whether processes of that run go on, with sockets of theirs.
 */
export function clearRunDirectory({ run }: StateDirectory, keepLinks = false): void {
  for (const name of readdirSync(run)) {
    if ((name === 'links' && !keepLinks) || name === 'control.json' || name.endsWith('.sock'))
      rmSync(join(run, name), { recursive: true, force: true })
  }
}

/** Stands beside an ecosystem file and names its data folder, so that each release and each clone finds the same. */
const pointerFile = '.quintet-data'

/**
 * The folder of an ecosystem: that which a file `.quintet-data` beside its file names, else the one that was made for
 * the path of its file, whatever the project was called then, else a new one: below `/var/lib/quintet` for root,
 * whose servers run as another user who must be able to get there, and below the user's state folder otherwise.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_STATE_DIRECTORY` when `.quintet-data` names no folder.
 */
export function defaultStateDirectory(
  project: string,
  configFile: string,
  env: NodeJS.ProcessEnv = process.env,
): string {
  const existing = existingStateDirectory(configFile, env)
  return existing ?? join(baseDirectory(env), `${project}-${suffix(configFile)}`)
}

/** The folder that an ecosystem file has already, found without reading the file: it may be broken while its apps run. */
export function existingStateDirectory(
  configFile: string,
  env: NodeJS.ProcessEnv = process.env,
): string | undefined {
  const named = namedDirectory(configFile)
  if (named !== undefined) return named
  const base = baseDirectory(env)
  const names = existsSync(base)
    ? readdirSync(base).filter((name) => name.endsWith(`-${suffix(configFile)}`))
    : []
  const [only] = names
  return names.length === 1 && only !== undefined ? join(base, only) : undefined
}

function namedDirectory(configFile: string): string | undefined {
  const folder = dirname(resolve(configFile))
  const file = join(folder, pointerFile)
  if (!existsSync(file)) return undefined
  const named = readFileSync(file, 'utf8').trim()
  if (named !== '' && !named.includes('\n')) return resolve(folder, named)
  throw new OrchestratorError(
    `${file}: must hold one line, the path of the data folder, e.g. /var/lib/quintet/shop.`,
    { code: 'ERR_ORCHESTRATOR_STATE_DIRECTORY', kind: 'invalid-input' },
  )
}

/** Below this folder are the data folders that were not named; `QUINTET_STATE_DIRECTORY` wins. */
export function baseDirectory(env: NodeJS.ProcessEnv): string {
  const given = env['QUINTET_STATE_DIRECTORY']
  if (given) return resolve(given)
  if (isRoot()) return '/var/lib/quintet'
  const home = env['HOME'] || homedir()
  const base =
    platform() === 'darwin'
      ? join(home, 'Library', 'Application Support')
      : env['XDG_STATE_HOME'] || join(home, '.local', 'state')
  return join(base, 'quintet')
}

function suffix(configFile: string): string {
  return hash(resolve(configFile)).slice(0, 8)
}

/**
 * Works out the paths, without touching the disk.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_STATE_DIRECTORY` for an empty name, as an unset variable leaves it.
 */
export function stateDirectory(root: string): StateDirectory {
  if (root.trim() === '')
    throw new OrchestratorError(
      'The data folder has an empty name: --data must name a folder. Is a variable not set?',
      { code: 'ERR_ORCHESTRATOR_STATE_DIRECTORY', kind: 'invalid-input' },
    )
  const absolute = resolve(root)
  return {
    root: absolute,
    postgres: join(absolute, 'postgres'),
    redis: join(absolute, 'redis'),
    logs: join(absolute, 'logs'),
    run: runDirectory(absolute),
    secretsFile: join(absolute, 'secrets.json'),
    held: join(absolute, 'held'),
    journalFile: join(absolute, 'state.jsonl'),
    daemonFile: join(absolute, 'daemon.json'),
  }
}

/**
 * Makes the data folder, or takes one that is empty or a data folder already.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_STATE_DIRECTORY` when a folder cannot be made, belongs to another user or
 *   has something else in it.
 */
export function prepareStateDirectory(state: StateDirectory): void {
  try {
    const isNew = makeFolder(state.root, 0o700)
    if (!isNew) assertOurs(state.root)
    // First of all: it tells the folder from any other while nothing else is in it.
    makeFolder(lockFolder(state.root), 0o700)
    // Others may pass through to the data of the servers that run as another user; what they may do besides stays as it is.
    if (isRoot()) chmodSync(state.root, (statSync(state.root).mode & 0o7777) | 0o011)
    for (const folder of [lockFolder(state.root), state.logs, state.run]) {
      makeFolder(folder, 0o700)
      assertPrivate(folder)
    }
  } catch (cause) {
    if (cause instanceof OrchestratorError) throw cause
    throw refuse(state.root, (cause as Error).message, cause)
  }
}

/**
 * Makes a folder and those above it, where they are missing. Not by `recursive` of `mkdirSync`: that does not end where a
 * file system such as `/proc` takes no folder and says that the one above is missing.
 *
 * @returns false when the folder was there.
 */
function makeFolder(path: string, mode?: number): boolean {
  try {
    mkdirSync(path, { mode })
    return true
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EEXIST' && statSync(path).isDirectory()) return false
    if (code !== 'ENOENT' || existsSync(dirname(path))) throw error
    makeFolder(dirname(path))
    return makeFolder(path, mode)
  }
}

/** Where the lock is held. */
export function lockFolder(root: string): string {
  return join(root, 'lock')
}

/** Written by the first that takes the lock. */
export function identityFile(root: string): string {
  return join(root, 'identity.json')
}

/** What a data folder has before it has an identity. */
const beginnings = new Set([
  'lock',
  'logs',
  'run',
  'identity.json.new',
  'secrets.json',
  'secrets.json.new',
  'postgres',
  'redis',
])

/** A folder with anything else in it is not taken: its owner would find our files in it. */
function assertOurs(root: string): void {
  if (existsSync(identityFile(root))) return
  // A disk that is mounted for the data has this one.
  const names = readdirSync(root).filter((name) => name !== 'lost+found')
  if (names.length === 0) return
  if (names.includes('lock') && names.every((name) => beginnings.has(name))) return
  throw refuse(
    root,
    `it is no data folder of an ecosystem, and has "${names.find((name) => !beginnings.has(name)) ?? names[0]}" in it`,
  )
}

function assertPrivate(folder: string): void {
  const found = lstatSync(folder)
  if (!found.isDirectory()) throw refuse(folder, 'it is not a folder')
  if (process.getuid && found.uid !== process.getuid())
    throw refuse(folder, `it belongs to the user with id ${found.uid}`)
  if ((found.mode & 0o077) !== 0) chmodSync(folder, 0o700)
}

function refuse(path: string, reason: string, cause?: unknown): OrchestratorError {
  return new OrchestratorError(
    `The data folder ${path} cannot be used: ${reason}. Check who owns it, or choose another one with --data.`,
    { code: 'ERR_ORCHESTRATOR_STATE_DIRECTORY', kind: 'unavailable', cause },
  )
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

/** Where the output of a supervisor in the background is. */
export function supervisorLog(state: StateDirectory): string {
  return join(state.logs, 'supervisor.log')
}

/** Where the log of a process is. */
export function logFile(state: StateDirectory, id: string): string {
  return join(state.logs, `${id.replace('/', '.')}.log`)
}
