import { spawn } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import type { PlannedProcess } from '../plan/plan.ts'
import { findMarked } from '../processes/find-processes.ts'
import { isPortFree } from '../processes/free-port.ts'
import { describePortOwner, findPortOwner } from '../processes/port-owner.ts'
import { markedCommand, markVariable, type ProcessMark } from '../processes/process-mark.ts'
import { identify, isRunning, type ProcessIdentity } from '../processes/process-identity.ts'

export interface ChildOptions {
  readonly process: PlannedProcess
  /** Counts the children of the process, from 1. */
  readonly generation: number
  /** How often the process was started again after a crash, up to now. */
  readonly restarts: number
  /** Another generation serves until this one takes over. */
  readonly standby: boolean
  readonly env: Readonly<Record<string, string>>
  /** The ports that it was given; they must be free again when it is gone. */
  readonly ports: readonly number[]
  /** Of the child and of all that it starts. */
  readonly mark: ProcessMark
  readonly output: {
    readonly stdout: (stream: NodeJS.ReadableStream) => Promise<void>
    readonly stderr: (stream: NodeJS.ReadableStream) => Promise<void>
  }
  /** Told the moment the child has ended; `gone` follows. */
  readonly exited: () => void
  /** Told when the child and everything it started are gone and its ports are free. */
  readonly gone: (ending: ChildEnding) => void
}

export interface ChildEnding {
  /** In words: `exit code 1`, `killed by SIGKILL`. */
  readonly reason: string
  readonly success: boolean
  /** Another try would end the same way. @defaultValue false */
  readonly permanent?: boolean
}

export interface Child {
  /** Undefined when it could not be started. */
  readonly pid: number | undefined
  /** It takes clients: its standby has ended, and no signal of an earlier supervisor has reached it. */
  serves(): void
  /** SIGTERM to the group, SIGKILL after `graceMs`, by default the process's own stop timeout. Idempotent. */
  terminate(graceMs?: number): void
  /** It stops already: no SIGTERM, which would cut it short. */
  awaitEnd(): void
  /** SIGKILL to the group at once. */
  kill(): void
}

/** How long ports may take to become free after their owner has gone. */
const portTimeout = 5_000

/** Starts a process as the leader of a group of its own, so that a signal reaches all that it starts. */
export function startChild(options: ChildOptions): Child {
  const { command, cwd, stopTimeout } = options.process
  const [program = '', ...args] = markedCommand(command, options.mark)
  const child = spawn(program, args, {
    cwd,
    env: { ...options.env, [markVariable]: options.mark.variable },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const identity = child.pid === undefined ? undefined : identify(child.pid)
  let force: NodeJS.Timeout | undefined
  let forcedAfter: number | undefined
  let ended = false

  const outputs = [options.output.stdout(child.stdout), options.output.stderr(child.stderr)]

  function forceAfter(graceMs: number): void {
    force = setTimeout(() => {
      forcedAfter = graceMs
      signalGroup(identity, 'SIGKILL')
    }, graceMs)
  }

  async function finish(ending: ChildEnding): Promise<void> {
    if (ended) return
    ended = true
    clearTimeout(force)
    if (identity) {
      endGroup(identity)
      await sweep(options.mark)
    }
    // Everything that could write is gone: take what is left in the pipes, and do not wait for ever.
    await Promise.race([Promise.allSettled(outputs), delay(1_000)])
    child.stdout.destroy()
    child.stderr.destroy()
    const taken = await takenPort(options.ports)
    const reason =
      taken === undefined
        ? ending.reason
        : `${ending.reason}; its port ${taken} is still in use by ${describePortOwner(await findPortOwner(taken))}`
    options.gone({ reason, success: ending.success && taken === undefined })
  }

  child.once(
    'error',
    (error) => void finish({ reason: `it could not be started: ${error.message}`, success: false }),
  )
  child.once('exit', (code, signal) => {
    options.exited()
    const reason =
      signal === null
        ? `exit code ${code}`
        : `killed by ${signal}${forcedAfter === undefined ? '' : ` after ${forcedAfter} ms`}`
    void finish({ reason, success: code === 0 })
  })

  return {
    pid: child.pid,
    serves: () => undefined,
    terminate(graceMs = stopTimeout) {
      if (ended || force) return
      signalGroup(identity, 'SIGTERM')
      forceAfter(graceMs)
    },
    awaitEnd() {
      if (!ended && !force) forceAfter(stopTimeout)
    },
    kill() {
      if (!ended) signalGroup(identity, 'SIGKILL')
    },
  }
}

/** Rechecks that the leader is still who it was: a pid may have another owner by now. */
export function signalGroup(identity: ProcessIdentity | undefined, signal: NodeJS.Signals): void {
  if (identity && isRunning(identity)) killQuietly(-identity.pid, signal)
}

/** Ends the rest of the group of a child that has just ended: as long as it has members, no new process can get its number. */
export function endGroup(identity: ProcessIdentity | undefined): void {
  if (identity) killQuietly(-identity.pid, 'SIGKILL')
}

/** Ends what has left the group of a child that has ended. */
export async function sweep(mark: ProcessMark): Promise<void> {
  for (const pid of await findMarked(mark)) killQuietly(pid, 'SIGKILL')
}

function killQuietly(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // Gone already.
  }
}

export async function takenPort(ports: readonly number[]): Promise<number | undefined> {
  const deadline = performance.now() + portTimeout
  for (;;) {
    const free = await Promise.all(ports.map((port) => isPortFree(port)))
    const taken = ports[free.indexOf(false)]
    if (taken === undefined || performance.now() > deadline) return taken
    await delay(20)
  }
}
