import { closeSync, constants, openSync, rmSync, writeSync } from 'node:fs'
import { Socket } from 'node:net'
import { constants as os } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { HolderEvent } from '../holder/holder-events.ts'
import type { Holder } from '../holder/holder.ts'
import { identify, isRunning, type ProcessIdentity } from '../processes/process-identity.ts'
import { endGroup, signalGroup, sweep, takenPort, type Child, type ChildOptions } from './child.ts'

export interface HeldChildOptions extends Omit<ChildOptions, 'env' | 'restarts' | 'standby'> {
  readonly holder: Holder
  /** Undefined for one that is only about to start. */
  readonly identity: ProcessIdentity | undefined
  /** An earlier supervisor has written down that it sends SIGTERM. A second one would cut an orderly stop short. */
  readonly stopping: boolean
  readonly started: (identity: ProcessIdentity) => void
}

/** How often it is looked whether the process is there: its holder may have been killed, and says nothing then. */
const lookInterval = 1_000

/** Follows a generation in its holder: from its start, or from wherever it is by now. */
export function followHeldChild(options: HeldChildOptions): Child {
  const { holder, generation, mark } = options
  const { stopTimeout } = options.process
  let identity: ProcessIdentity | undefined
  let outputs: readonly Output[] = []
  let force: NodeJS.Timeout | undefined
  let forcedAfter: number | undefined
  let ended = false
  let missing = 0
  let killed = false
  let signalled = false
  const looking = setInterval(look, lookInterval)
  looking.unref()
  const events = holder.follow((event) => queueMicrotask(() => onEvent(event)))

  function onEvent(event: HolderEvent): void {
    if (ended || event.type === 'holding' || event.generation !== generation) return
    if (event.type === 'started') start(options.identity ?? identify(event.pid))
    else finish(describe(event.code, forcedAfter), event.code === 0)
  }

  function start(found: ProcessIdentity | undefined): void {
    identity = found
    outputs = [openOutput('out', options.output.stdout), openOutput('err', options.output.stderr)]
    if (identity) options.started(identity)
    if (killed) signalGroup(identity, 'SIGKILL')
    else if (signalled) signalGroup(identity, 'SIGTERM')
  }

  function openOutput(name: string, consume: (stream: NodeJS.ReadableStream) => Promise<void>): Output {
    const stream = openPipe(join(holder.folder, `${name}.${generation}`))
    return { stream, read: stream ? consume(stream) : Promise.resolve() }
  }

  function look(): void {
    events.read()
    const lost = identity ? !isRunning(identity) : !holder.isRunning
    // What has just ended is about to be written down.
    missing = lost ? missing + 1 : 0
    if (ended || missing < 3) return
    finish(
      identity ? 'it ended, and its exit code is not known' : 'its holder was ended before it started',
      false,
    )
  }

  function finish(reason: string, success: boolean): void {
    if (ended) return
    ended = true
    clearInterval(looking)
    clearTimeout(force)
    events[Symbol.dispose]()
    if (outputs.length === 0 && identity === undefined) start(undefined)
    options.exited()
    void (async () => {
      endGroup(identity)
      await sweep(mark)
      const acknowledged = acknowledge()
      // Everything that could write is gone: take what is left in the pipes, and do not wait for ever.
      await Promise.race([Promise.allSettled(outputs.map(({ read }) => read)), delay(1_000)])
      for (const { stream } of outputs) stream?.destroy()
      if (acknowledged !== undefined) closeSync(acknowledged)
      for (const name of ['out', 'err', 'ack', 'spec'])
        rmSync(join(holder.folder, `${name}.${generation}`), { force: true })
      const taken = await takenPort(options.ports)
      const more = taken === undefined ? '' : `; its port ${taken} is still in use`
      options.gone({ reason: `${reason}${more}`, success: success && taken === undefined })
    })()
  }

  function signal(): void {
    signalled = true
    signalGroup(identity, 'SIGTERM')
  }

  function forceAfter(graceMs: number): void {
    force = setTimeout(() => {
      forcedAfter = graceMs
      if (identity) signalGroup(identity, 'SIGKILL')
      else finish(`it did not start within ${graceMs} ms`, false)
    }, graceMs)
  }

  /** Lets the holder give up the output. The descriptor stays open until that has been read. */
  function acknowledge(): number | undefined {
    try {
      const fd = openSync(join(holder.folder, `ack.${generation}`), constants.O_RDWR | constants.O_NONBLOCK)
      writeSync(fd, 'read\n')
      return fd
    } catch {
      // The holder has been killed and its folder removed.
      return undefined
    }
  }

  return {
    get pid() {
      return identity?.pid
    },
    serves() {
      // The earlier supervisor was killed before it could send what it had written down.
      if (force && options.stopping) signal()
    },
    terminate(graceMs = stopTimeout) {
      if (ended || force) return
      if (!options.stopping) signal()
      forceAfter(graceMs)
    },
    awaitEnd() {
      if (!ended && !force) forceAfter(stopTimeout)
    },
    kill() {
      killed = true
      if (!ended) signalGroup(identity, 'SIGKILL')
    },
  }
}

interface Output {
  readonly stream: Socket | undefined
  readonly read: Promise<void>
}

function openPipe(path: string): Socket | undefined {
  try {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
    return new Socket({ fd, readable: true, writable: false })
  } catch {
    return undefined
  }
}

/** An exit code as a shell says it, in words. */
function describe(code: number, forcedAfter: number | undefined): string {
  const signal = Object.entries(os.signals).find(([, number]) => number === code - 128)?.[0]
  if (signal === undefined) return `exit code ${code}`
  return `killed by ${signal}${forcedAfter === undefined ? '' : ` after ${forcedAfter} ms`}`
}
