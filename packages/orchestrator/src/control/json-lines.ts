import type { Socket } from 'node:net'
import { createLineSplitter } from '../logs/line-splitter.ts'

/** Messages on a stream socket: one JSON value per line. */
export interface JsonLines {
  send(message: object): void
  /** Bytes that wait for the peer to read. */
  readonly backlog: number
  close(): void
}

/** A peer that sends more than this without a newline is not one of ours. */
const maxMessage = 8 * 1024 * 1024

/** Reads messages from a socket; one that is not JSON, too long, or cannot be handled, closes it. */
export function jsonLines(
  socket: Socket,
  onMessage: (message: Readonly<Record<string, unknown>>) => void,
): JsonLines {
  const splitter = createLineSplitter((lines) => {
    for (const line of lines.slice(0, -1).split('\n')) {
      if (socket.destroyed) return
      const message = parse(line)
      if (message === undefined || !isHandled(message)) socket.destroy()
    }
  }, maxMessage)
  socket.on('data', (chunk: Buffer) => {
    splitter.push(chunk)
    if (splitter.isCutting) socket.destroy()
  })
  socket.on('error', () => socket.destroy())

  /** What a peer says may cost its connection, never the process. */
  function isHandled(message: Readonly<Record<string, unknown>>): boolean {
    try {
      onMessage(message)
      return true
    } catch {
      return false
    }
  }

  return {
    send(message) {
      if (socket.writable) socket.write(`${JSON.stringify(message)}\n`)
    },
    get backlog() {
      return socket.writableLength
    },
    close: () => void socket.end(),
  }
}

function parse(line: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(line)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : undefined
  } catch {
    return undefined
  }
}
