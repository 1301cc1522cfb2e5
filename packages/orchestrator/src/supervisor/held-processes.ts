import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { describeError } from '../errors.ts'
import type { Held } from '../holder/find-held.ts'
import { startHolder, type Holder } from '../holder/holder.ts'
import type { Journal, JournaledGeneration } from '../holder/journal.ts'
import type { SocketAddress } from '../holder/listening-sockets.ts'
import { markedCommand, markVariable, type ProcessMark } from '../processes/process-mark.ts'
import { isRunning } from '../processes/process-identity.ts'
import type { Child, ChildOptions } from './child.ts'
import { followHeldChild } from './held-child.ts'

export interface HeldProcessesOptions {
  readonly folder: string
  readonly journal: Journal
  /** What an earlier supervisor has left. */
  readonly held: Held
  /** The mark of the next holder. */
  readonly mark: () => ProcessMark
  readonly ports: (id: string) => Readonly<Record<string, number>>
  /** Where the transports of a process listen that take a socket from outside. */
  readonly addresses: (id: string) => readonly SocketAddress[]
  /** Of all that a process is started with. */
  readonly digest: (id: string) => string
}

/** The processes of an ecosystem whose supervisor may die: each in a holder. */
export interface HeldProcesses {
  /** Starts a process in its holder, or in a new one. */
  spawn(options: ChildOptions): Child
  /** Takes over what an earlier supervisor has left. */
  adopt(options: Omit<ChildOptions, 'env'>): Child
  /** Closes the sockets of a process that will not start again soon: its clients are refused instead of waiting. */
  release(id: string): void
  /** Another generation can be started on the sockets that the one that serves has. */
  takesSuccessor(id: string): boolean
  /** `lost` when it was killed: the process goes on, and nothing can be started on its sockets. Null when there is none. */
  holder(id: string): 'held' | 'lost' | null
}

/** How long clients wait for a process that has ended and may come back, in milliseconds. */
const holdTime = 5_000

export function createHeldProcesses(options: HeldProcessesOptions): HeldProcesses {
  const { journal, held } = options
  const holders = new Map<string, Holder>()
  const releases = new Map<string, NodeJS.Timeout>()
  /** How many generations of a process have not ended. */
  const live = new Map<string, number>()
  /** Processes that will not start again soon, and of which a generation that gives way has not ended. */
  const ending = new Set<string>()
  for (const [id, { holder }] of held.processes) holders.set(id, holder)

  /** Not before the last generation has ended, which the holder is to tell of. */
  function release(id: string): void {
    if ((live.get(id) ?? 0) > 0) ending.add(id)
    else close(id)
  }

  function close(id: string): void {
    cancelRelease(id)
    const holder = holders.get(id)
    if (!holder) return
    holders.delete(id)
    holder.end()
    journal.append({ type: 'released', id })
    rmSync(holder.folder, { recursive: true, force: true })
  }

  function cancelRelease(id: string): void {
    clearTimeout(releases.get(id))
    releases.delete(id)
    ending.delete(id)
  }

  /** One that listens where the process is to listen. */
  function findFitting(id: string): Holder | undefined {
    const existing = holders.get(id)
    if (!existing?.isRunning) return undefined
    return isDeepStrictEqual(existing.addresses, options.addresses(id)) ? existing : undefined
  }

  async function findHolder(id: string): Promise<Holder> {
    const addresses = options.addresses(id)
    const existing = findFitting(id)
    if (existing) return existing
    close(id)
    const folder = join(options.folder, `${id.replace('/', '.')}.${randomBytes(3).toString('hex')}`)
    const mark = options.mark()
    const holder = await startHolder(folder, addresses, mark)
    journal.append({ type: 'holder', id, folder, identity: holder.identity, mark, addresses })
    holders.set(id, holder)
    return holder
  }

  /** What is written down of a child, and how it is followed, whether it starts or is taken over. */
  function follow(child: Omit<ChildOptions, 'env'>, holder: Holder, entry: JournaledGeneration): Child {
    const { id } = child.process
    const addressed = new Set(holder.addresses.map(({ port }) => port))
    let known = entry
    const write = (change: Partial<JournaledGeneration>): void => {
      known = { ...known, ...change }
      journal.append({ type: 'generation', id, ...known })
    }
    const markStopping = (): void => {
      if (!known.stopping) write({ stopping: true })
    }
    const followed = followHeldChild({
      ...child,
      // Those that the holder listens on stay taken.
      ports: child.ports.filter((port) => !addressed.has(port)),
      holder,
      identity: entry.identity,
      stopping: entry.stopping ?? false,
      started: (identity) => write({ identity }),
      gone(ending) {
        ended(id, entry.generation)
        child.gone(ending)
      },
    })
    return {
      get pid() {
        return followed.pid
      },
      serves() {
        followed.serves()
        const { standby, ...rest } = known
        if (!standby) return
        known = rest
        write({})
      },
      terminate(grace) {
        markStopping()
        followed.terminate(grace)
      },
      awaitEnd() {
        markStopping()
        followed.awaitEnd()
      },
      kill: followed.kill,
    }
  }

  function ended(id: string, generation: number): void {
    journal.append({ type: 'ended', id, generation })
    const left = (live.get(id) ?? 1) - 1
    live.set(id, left)
    if (left > 0) return
    if (ending.has(id)) return close(id)
    const timer = setTimeout(() => close(id), holdTime)
    timer.unref()
    releases.set(id, timer)
  }

  return {
    spawn(child) {
      const { id } = child.process
      cancelRelease(id)
      let started: Child | undefined
      let stopped = false
      const fail = (reason: string, permanent = false): void => {
        child.exited()
        child.gone({ reason, success: false, permanent })
      }
      async function start(): Promise<void> {
        // Not before whoever asks has the child.
        await Promise.resolve()
        const stranger = held.unproven.get(id)
        if (stranger && isRunning(stranger)) {
          const reason = `pid ${stranger.pid} may be an earlier copy of it, which cannot be proven: it is not started a second time. End that process, and restart this one`
          return fail(reason, true)
        }
        const holder = await findHolder(id)
        if (stopped) return fail('it was stopped before it started')
        const { generation, mark, restarts, standby } = child
        const entry = {
          generation,
          mark,
          digest: options.digest(id),
          ports: options.ports(id),
          startedAt: Date.now(),
          restarts,
          ...(standby ? { standby } : {}),
        }
        journal.append({ type: 'generation', id, ...entry })
        live.set(id, (live.get(id) ?? 0) + 1)
        try {
          const command = markedCommand(child.process.command, mark)
          const env = { ...child.env, [markVariable]: mark.variable }
          holder.start(generation, { command, cwd: child.process.cwd, env })
        } catch (error) {
          ended(id, generation)
          throw error
        }
        started = follow(child, holder, entry)
      }
      start().catch((error: unknown) => fail(`it could not be started: ${describeError(error)}`))
      return {
        get pid() {
          return started?.pid
        },
        serves: () => started?.serves(),
        terminate(grace) {
          if (started) started.terminate(grace)
          else stopped = true
        },
        awaitEnd: () => started?.awaitEnd(),
        kill() {
          if (started) started.kill()
          else stopped = true
        },
      }
    },
    adopt(child) {
      const { process, generation } = child
      const found = held.processes.get(process.id)
      const entry =
        found && [found.generation, ...found.others].find((each) => each.generation === generation)
      if (!entry) throw new TypeError(`Nothing is held of ${process.id}.`)
      live.set(process.id, (live.get(process.id) ?? 0) + 1)
      return follow(child, found.holder, entry)
    },
    release,
    takesSuccessor: (id) => findFitting(id) !== undefined,
    holder(id) {
      const holder = holders.get(id)
      if (!holder) return null
      return holder.isRunning ? 'held' : 'lost'
    },
  }
}
