import { once } from 'node:events'
import { randomBytes, timingSafeEqual } from 'node:crypto'
import { readFileSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import type { RestartCause, RunningEcosystem } from '../running/running-ecosystem.ts'
import { badCommand, describeError, type OrchestratorError } from '../errors.ts'
import type { Plan } from '../plan/plan.ts'
import { isUnchanged } from '../running/plan-changes.ts'
import { droppedLine } from '../logs/log-entry.ts'
import { replaceFile } from '../state/replace-file.ts'
import { jsonLines, type JsonLines } from './json-lines.ts'

/** Where a command finds the supervisor, in a file that only its user can read. */
export interface ControlAddress {
  readonly socket: string
  readonly token: string
}

export function controlFile(runDirectory: string): string {
  return join(runDirectory, 'control.json')
}

export interface ControlServer {
  close(): Promise<void>
}

/** Bytes that may wait for one who follows logs. */
const followBacklog = 1024 * 1024

type Request = Readonly<Record<string, unknown>>

/**
 * Answers the commands of the command line on a unix socket in the private run folder. Each request carries the token; each
 * connection is one command: `{ received }` at once, `{ started }` and `{ line }`s if it follows something, then `{ result }` or `{ error }`.
 */
export async function openControlServer(
  ecosystem: RunningEcosystem,
  runDirectory: string,
  handOver?: HandOver,
): Promise<ControlServer> {
  const token = randomBytes(24).toString('base64url')
  const socketPath = join(runDirectory, `control.${randomBytes(4).toString('hex')}.sock`)
  const sockets = new Set<Socket>()
  const answering = new Set<Promise<void>>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    const lines = jsonLines(socket, (request) => {
      if (!isToken(request['token'], token)) return void socket.destroy()
      // Who asks need not wait long to learn that the supervisor stands still.
      lines.send({ received: true })
      const answered = handle({ ecosystem, handOver }, request, lines, socket).catch((error: unknown) => {
        const { code } = error as { code?: unknown }
        lines.send({ error: { message: describeError(error), code: typeof code === 'string' ? code : null } })
        lines.close()
      })
      answering.add(answered)
      void answered.finally(() => answering.delete(answered))
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(socketPath, resolve)
  })
  const file = controlFile(runDirectory)
  replaceFile(file, JSON.stringify({ socket: socketPath, token } satisfies ControlAddress))
  return {
    async close() {
      // The next supervisor may have written its own by now.
      if (isOwn(file, socketPath)) rmSync(file, { force: true })
      const closed = new Promise((resolve) => server.close(resolve))
      // Answers get out, that to `down` above all; who follows something is cut off.
      await Promise.all(answering)
      for (const socket of sockets) socket.destroySoon()
      await closed
    },
  }
}

/** Leaves everything that runs to another supervisor with another plan. */
export interface HandOver {
  /** @throws OrchestratorError when there is none that could take it over. */
  prepare(next: Plan): void
  /** Ends this process at once, and nothing else. */
  leave(): Promise<never>
}

interface Served {
  readonly ecosystem: RunningEcosystem
  readonly handOver: HandOver | undefined
}

async function handle(
  { ecosystem, handOver }: Served,
  request: Request,
  lines: JsonLines,
  socket: Socket,
): Promise<void> {
  const name = typeof request['name'] === 'string' ? request['name'] : undefined
  const finish = (result: unknown): void => {
    lines.send({ result })
    lines.close()
  }
  switch (request['command']) {
    case 'status':
      return finish(await ecosystem.status())
    case 'metrics':
      return finish(ecosystem.metrics(name ?? ''))
    case 'restart': {
      using _progress = ecosystem.onEvent((event) => lines.send({ event }))
      return finish(await ecosystem.restart(name ?? '', { cause: causeOf(request['cause']) }))
    }
    case 'reload': {
      using _progress = ecosystem.onEvent((event) => lines.send({ event }))
      return finish(await ecosystem.reload(name))
    }
    case 'apply': {
      using _progress = ecosystem.onEvent((event) => lines.send({ event }))
      const next = request['plan'] as Plan
      const changes = ecosystem.changes(next)
      if (request['dryRun'] === true || isUnchanged(changes)) return finish(changes)
      if (!handOver) throw notInBackground()
      handOver.prepare(next)
      await ecosystem.retire(changes.stopped)
      finish(changes)
      await ended(socket)
      return handOver.leave()
    }
    case 'settled':
      await Promise.race([ecosystem.settled(), ecosystem.stopped])
      return finish({ failure: ecosystem.failure, status: await ecosystem.status() })
    case 'secret':
      return finish(ecosystem.secret(name ?? ''))
    case 'follow': {
      let dropped = 0
      const subscription = ecosystem.follow(name, (id, line) => {
        // A reader that does not keep up loses lines, and is told how many; it never fills the supervisor's memory.
        if (lines.backlog > followBacklog) return void (dropped += 1)
        if (dropped > 0) lines.send({ line: { id, line: droppedLine(dropped) } })
        dropped = 0
        lines.send({ line: { id, line } })
      })
      socket.once('close', () => subscription[Symbol.dispose]())
      await subscription.caughtUp
      return lines.send({ started: true })
    }
    case 'events': {
      for (const event of ecosystem.events) lines.send({ event })
      if (request['follow'] !== true) return finish(null)
      const subscription = ecosystem.onEvent((event) => {
        // Events are few; a reader that takes none of a megabyte of them has gone to sleep.
        if (lines.backlog > followBacklog) socket.destroy()
        else lines.send({ event })
      })
      socket.once('close', () => subscription[Symbol.dispose]())
      return lines.send({ started: true })
    }
    case 'kill':
      await ecosystem.kill()
      return finish({ code: await ecosystem.stopped })
    case 'down':
      await ecosystem.stop('quintet down')
      return finish({ code: await ecosystem.stopped })
    default:
      throw new TypeError(`There is no command ${JSON.stringify(request['command'])}.`)
  }
}

/** How long one who asked may take to hear the answer, in milliseconds. */
const answerTimeout = 2_000

async function ended(socket: Socket): Promise<void> {
  if (!socket.closed)
    await once(socket, 'close', { signal: AbortSignal.timeout(answerTimeout) }).catch(() => undefined)
}

function notInBackground(): OrchestratorError {
  return badCommand(
    'It runs in the foreground, or ends with its supervisor: its file cannot be applied while it runs. What "quintet up" has started in the background with onSupervisorLoss: \'keep\' can.',
  )
}

function causeOf(value: unknown): RestartCause {
  return value === 'deployment' ? 'deployment' : 'restart'
}

function isOwn(file: string, socket: string): boolean {
  try {
    return (JSON.parse(readFileSync(file, 'utf8')) as ControlAddress).socket === socket
  } catch {
    return false
  }
}

function isToken(given: unknown, token: string): boolean {
  if (typeof given !== 'string') return false
  const [a, b] = [Buffer.from(given), Buffer.from(token)]
  return a.length === b.length && timingSafeEqual(a, b)
}
