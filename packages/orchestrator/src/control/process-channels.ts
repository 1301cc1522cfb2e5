import type { HealthReport } from '@quintet/core'
import { createHmac, timingSafeEqual } from 'node:crypto'
import { createServer, type Server, type Socket } from 'node:net'
import { jsonLines, type JsonLines } from './json-lines.ts'
import type { SupervisorMessage } from './messages.ts'

/** What the supervisor hears from one process. */
export interface ChannelListener {
  ready(urls: Readonly<Record<string, string>>): void
  standby(urls: Readonly<Record<string, string>>): void
  stopping(): void
  report(probe: number, report: HealthReport): void
  startFailed(problem: string, permanent: boolean): void
}

/** One process's way to its supervisor. The process connects, and connects again when it was cut off. */
export interface ProcessChannel {
  /** Proves to us who connects; another one for every child. */
  readonly token: string
  /** False when the process is not connected. */
  send(message: SupervisorMessage): boolean
  close(): void
}

export interface ProcessChannels {
  readonly path: string
  /** @param subject whom the token is for: it is the same for the same one, whoever supervises it. */
  open(listener: ChannelListener, subject: string): ProcessChannel
  close(): Promise<void>
}

interface Entry {
  readonly token: Buffer
  readonly listener: ChannelListener
  lines: JsonLines | undefined
  socket: Socket | undefined
}

/**
 * Listens for the processes on a unix socket; the folder must be private.
 *
 * @param key what tokens are derived from.
 */
export async function openProcessChannels(path: string, key: string): Promise<ProcessChannels> {
  const entries = new Set<Entry>()
  const sockets = new Set<Socket>()
  const server: Server = createServer((socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    let entry: Entry | undefined
    const lines = jsonLines(socket, (message) => {
      if (entry) return handle(entry, message)
      entry = greet(message)
      if (!entry) return void socket.destroy()
      entry.socket?.destroy()
      entry.socket = socket
      entry.lines = lines
    })
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  server.unref()

  function greet(message: Readonly<Record<string, unknown>>): Entry | undefined {
    if (message['type'] !== 'hello' || typeof message['token'] !== 'string') return undefined
    const given = Buffer.from(message['token'])
    return [...entries].find(({ token }) => token.length === given.length && timingSafeEqual(token, given))
  }

  return {
    path,
    open(listener, subject) {
      const token = createHmac('sha256', key).update(subject).digest('base64url')
      const entry: Entry = { token: Buffer.from(token), listener, lines: undefined, socket: undefined }
      entries.add(entry)
      return {
        token,
        send(message) {
          if (!entry.socket?.writable) return false
          entry.lines?.send(message)
          return true
        },
        close() {
          entries.delete(entry)
          entry.socket?.destroy()
        },
      }
    },
    async close() {
      const closed = new Promise((resolve) => server.close(resolve))
      for (const socket of sockets) socket.destroy()
      await closed
    },
  }
}

function handle({ listener }: Entry, message: Readonly<Record<string, unknown>>): void {
  const { type, urls, probe, report, problem, permanent } = message
  if (type === 'ready' && isTexts(urls)) listener.ready(urls)
  else if (type === 'standby' && isTexts(urls)) listener.standby(urls)
  else if (type === 'stopping') listener.stopping()
  else if (type === 'report' && typeof probe === 'number' && isReport(report)) listener.report(probe, report)
  else if (type === 'start-failed' && typeof problem === 'string')
    listener.startFailed(problem, permanent === true)
}

function isTexts(value: unknown): value is Readonly<Record<string, string>> {
  return isRecord(value) && Object.values(value).every((each) => typeof each === 'string')
}

function isReport(value: unknown): value is HealthReport {
  return (
    isRecord(value) &&
    isStatus(value['status']) &&
    isRecord(value['checks']) &&
    Object.values(value['checks']).every(isCheck)
  )
}

function isCheck(value: unknown): boolean {
  return (
    isRecord(value) &&
    isStatus(value['status']) &&
    typeof value['durationMs'] === 'number' &&
    (value['detail'] === undefined || typeof value['detail'] === 'string')
  )
}

function isStatus(value: unknown): boolean {
  return value === 'pass' || value === 'warn' || value === 'fail'
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
