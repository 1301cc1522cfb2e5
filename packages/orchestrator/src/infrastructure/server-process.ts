import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import type { Environment } from './environment.ts'
import { serverEnvironment } from './environment.ts'
import { InfrastructureError } from './errors.ts'
import { startGuardian } from '../processes/guardian.ts'
import { isRunning, type ProcessIdentity } from '../processes/process-identity.ts'
import type { ServerUser } from './server-user.ts'

export interface ServerProcessOptions {
  /** For messages, e.g. `PostgreSQL`. */
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly cwd: string
  readonly env: Environment
  readonly user: ServerUser | undefined
  /** Given on standard input, so that no secret stands on the command line. */
  readonly input?: string
  /** Where its output goes. */
  readonly logFile: string
  /** Asks for an orderly stop. */
  readonly stopSignal: 'INT' | 'QUIT' | 'TERM'
  /** Milliseconds until the stop is forced. */
  readonly stopTimeout: number
  /** A temporary folder that goes with the process if we die. */
  readonly removeDirectory: string | undefined
  /** It goes on when we are killed. */
  readonly outlives: boolean
}

/** A server that we have started, or taken over. */
export interface ServerProcess {
  readonly pid: number
  readonly running: boolean
  /** Resolves when it has ended, whoever ended it. */
  readonly ended: Promise<void>
  stop(): Promise<void>
  /** The last lines of its output. */
  tail(): Promise<string>
}

/** @throws InfrastructureError `ERR_INFRASTRUCTURE_START_FAILED` when there is no such program or it may not be run. */
export async function startServerProcess(options: ServerProcessOptions): Promise<ServerProcess> {
  const log = openSync(options.logFile, 'a', 0o600)
  const child = spawn(options.command, options.args, {
    cwd: options.cwd,
    env: serverEnvironment(options.env),
    stdio: [options.input === undefined ? 'ignore' : 'pipe', log, log],
    detached: true,
    ...(options.user ? { uid: options.user.uid, gid: options.user.gid } : {}),
  })
  closeSync(log)
  const spawned = once(child, 'spawn')
  try {
    await spawned
  } catch (cause) {
    throw new InfrastructureError(`${options.name} could not be started: ${(cause as Error).message}`, {
      code: 'ERR_INFRASTRUCTURE_START_FAILED',
      cause,
    })
  }
  const pid = child.pid as number
  const guardian = options.outlives ? undefined : startGuardian()
  guardian?.add(pid, { signal: options.stopSignal, removeDirectory: options.removeDirectory })
  let running = true
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => {
      running = false
      guardian?.release()
      resolve()
    })
  })
  child.stdin?.on('error', () => undefined)
  child.stdin?.end(options.input)
  child.unref()

  return {
    pid,
    get running() {
      return running
    },
    ended,
    async stop() {
      if (!running) return
      // A stop is awaited: keep the event loop alive until it has ended.
      child.ref()
      child.kill(`SIG${options.stopSignal}`)
      const force = setTimeout(() => child.kill('SIGKILL'), options.stopTimeout)
      await ended
      clearTimeout(force)
    },
    tail: () => lastLines(options.logFile),
  }
}

async function lastLines(file: string): Promise<string> {
  const text = await readFile(file, 'utf8').catch(() => '')
  return text.trimEnd().split('\n').slice(-5).join('\n')
}

/** How often it is looked whether a server that is not our child is there, in milliseconds. */
const lookInterval = 200

/** Takes over a server that an earlier owner has started and that has outlived it. */
export function adoptServerProcess(
  identity: ProcessIdentity,
  options: Pick<ServerProcessOptions, 'logFile' | 'stopSignal' | 'stopTimeout'>,
): ServerProcess {
  const { promise: ended, resolve } = Promise.withResolvers<void>()
  let running = true
  const looking = setInterval(() => {
    if (isRunning(identity)) return
    running = false
    clearInterval(looking)
    resolve()
  }, lookInterval)
  looking.unref()

  function signal(name: NodeJS.Signals): void {
    try {
      if (isRunning(identity)) process.kill(identity.pid, name)
    } catch {
      // It has just ended.
    }
  }

  return {
    pid: identity.pid,
    get running() {
      return running
    },
    ended,
    async stop() {
      if (!running) return
      // Its stop is waited for: keep the event loop alive until it has ended.
      looking.ref()
      signal(`SIG${options.stopSignal}`)
      const force = setTimeout(() => signal('SIGKILL'), options.stopTimeout)
      await ended
      clearTimeout(force)
    },
    tail: () => lastLines(options.logFile),
  }
}
