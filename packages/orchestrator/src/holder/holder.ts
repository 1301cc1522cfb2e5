import { spawn } from 'node:child_process'
import {
  closeSync,
  constants,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { OrchestratorError } from '../errors.ts'
import { markedCommand, markVariable, type ProcessMark } from '../processes/process-mark.ts'
import { writeDurably } from '../state/replace-file.ts'
import { identify, isRunning, type ProcessIdentity } from '../processes/process-identity.ts'
import { followEvents, type HolderEvent, type HolderEvents } from './holder-events.ts'
import { holderScript, maxSockets, specText, type GenerationSpec } from './holder-script.ts'
import { openListeningSockets, type SocketAddress } from './listening-sockets.ts'

/** A shell that holds the sockets, the output and the exit codes of one process, and outlives its supervisor. */
export interface Holder {
  readonly folder: string
  readonly identity: ProcessIdentity
  readonly addresses: readonly SocketAddress[]
  /** False when it was killed: what it has started goes on, and nothing more can be started on its sockets. */
  readonly isRunning: boolean
  /** @throws Error when it is not there any more. */
  start(generation: number, spec: GenerationSpec): void
  /** Hears of the generations, also of what is over. */
  follow(onEvent: (event: HolderEvent) => void): HolderEvents
  /** Closes the sockets. Generations that run go on. */
  end(): void
}

/** How long a shell may take to come up on a busy machine, in milliseconds. */
const startTimeout = 10_000

/** @throws OrchestratorError when an address is taken or the holder does not come up; nothing is left of it then. */
export async function startHolder(
  folder: string,
  addresses: readonly SocketAddress[],
  mark: ProcessMark,
): Promise<Holder> {
  try {
    return await start(folder, addresses, mark)
  } catch (error) {
    rmSync(folder, { recursive: true, force: true })
    throw error
  }
}

async function start(
  folder: string,
  addresses: readonly SocketAddress[],
  mark: ProcessMark,
): Promise<Holder> {
  if (addresses.length > maxSockets)
    throw failed(`it listens on ${addresses.length} addresses, and no more than ${maxSockets} can be held`)
  rmSync(folder, { recursive: true, force: true })
  createFiles(folder)
  const sockets = await openListeningSockets(addresses)
  const errors = openSync(join(folder, 'errors'), 'a', 0o600)
  const [program = '', ...args] = markedCommand(
    ['/bin/sh', '-c', holderScript, 'quintet-holder', folder],
    mark,
  )
  const child = spawn(program, args, {
    cwd: '/',
    env: {
      PATH: process.env['PATH'] ?? '/usr/bin:/bin',
      [markVariable]: mark.variable,
      LISTEN_FDS: String(addresses.length),
      LISTEN_FDNAMES: addresses.map(({ name }) => name).join(':'),
    },
    stdio: ['ignore', 'ignore', errors, ...sockets.fds],
    detached: true,
  })
  sockets.close()
  closeSync(errors)
  child.unref()
  const identity = child.pid === undefined ? undefined : identify(child.pid)
  const { promise: isUp, resolve } = Promise.withResolvers<boolean>()
  const ended = new Promise<void>((done) => child.once('error', () => done()).once('exit', () => done()))
  void ended.then(() => resolve(false))
  using events = followEvents(folder, ({ type }) => type === 'holding' && resolve(true))
  const timer = setTimeout(() => resolve(false), startTimeout)
  const up = await isUp
  clearTimeout(timer)
  events.read()
  if (!up || !identity) {
    child.kill('SIGKILL')
    await ended
    throw failed(`its holder did not come up: ${readErrors(folder)}`)
  }
  return openHolder(folder, identity, addresses)
}

/** On a full disk a holder could say neither that it is up nor why it is not: its folder takes a line, or it is not started. */
function createFiles(folder: string): void {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    writeDurably(join(folder, 'events'), 'w', 'created\n')
  } catch (error) {
    throw failed(`its folder cannot be written: ${(error as Error).message}`)
  }
}

/** A holder that runs already. */
export function openHolder(
  folder: string,
  identity: ProcessIdentity,
  addresses: readonly SocketAddress[],
): Holder {
  return {
    folder,
    identity,
    addresses,
    get isRunning() {
      return isRunning(identity)
    },
    start(generation, spec) {
      const file = join(folder, `spec.${generation}`)
      const text = specText(generation, spec)
      try {
        writeFileSync(file, text, { mode: 0o600, flag: 'wx' })
        tell(folder, `start ${generation}`)
      } catch (error) {
        rmSync(file, { force: true })
        throw error
      }
    },
    follow: (onEvent) => followEvents(folder, onEvent),
    end() {
      try {
        tell(folder, 'end')
      } catch {
        // Gone already.
      }
    },
  }
}

/** Without a reader this fails at once: then the holder is gone. */
function tell(folder: string, message: string): void {
  const fd = openSync(join(folder, 'control'), constants.O_WRONLY | constants.O_NONBLOCK)
  try {
    writeSync(fd, `${message}\n`)
  } finally {
    closeSync(fd)
  }
}

function readErrors(folder: string): string {
  try {
    return readFileSync(join(folder, 'errors'), 'utf8').trim() || 'it says nothing'
  } catch {
    return 'it says nothing'
  }
}

function failed(reason: string): OrchestratorError {
  return new OrchestratorError(`It cannot be held: ${reason}.`, {
    code: 'ERR_ORCHESTRATOR_START_FAILED',
    kind: 'unavailable',
  })
}
