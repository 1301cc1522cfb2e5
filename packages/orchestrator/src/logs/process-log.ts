import { toLogLines } from './log-entry.ts'
import { createLineSplitter } from './line-splitter.ts'
import { openLogWriter, type LogWriterOptions } from './log-writer.ts'

/** Follows the log of a process while it is written. */
export type LogListener = (line: string) => void

/** What one process has to say: kept in a file, with the last lines at hand. */
export interface ProcessLog {
  /** Reads a stream to its end. While the disk is slow the stream waits, and with it the process. */
  consume(stream: NodeJS.ReadableStream, name: 'stdout' | 'stderr'): Promise<void>
  /** Writes a line of the supervisor's own. */
  note(message: string): void
  /** The last lines, as JSON. */
  recent(count: number): readonly string[]
  subscribe(listener: LogListener): Disposable
  readonly dropped: number
  /** Resolves when the file has every line so far. */
  flushed(): Promise<void>
  close(): Promise<void>
}

/** What is kept at hand, in characters. */
const keptSize = 256 * 1024

/** Lines that came together count as one of these. */
const keptBlocks = 500

export async function openProcessLog(
  options: LogWriterOptions & { readonly now: () => number },
): Promise<ProcessLog> {
  const writer = await openLogWriter(options)
  const listeners = new Set<LogListener>()
  /** The last lines, as they have come together. */
  const kept: string[] = []
  let size = 0

  function add(lines: string): boolean {
    kept.push(lines)
    size += lines.length
    while (kept.length > keptBlocks || (size > keptSize && kept.length > 1)) size -= kept.shift()?.length ?? 0
    if (listeners.size > 0) {
      for (const line of linesOf(lines)) for (const listener of listeners) listener(line)
    }
    return writer.write(lines)
  }

  return {
    get dropped() {
      return writer.dropped
    },
    async consume(stream, name) {
      let keepsUp = true
      const splitter = createLineSplitter((lines) => {
        keepsUp = add(toLogLines(lines, name, options.now()))
      })
      try {
        for await (const chunk of stream) {
          splitter.push(chunk as Buffer)
          if (!keepsUp) await writer.room()
        }
      } catch {
        // The stream was taken away together with the process.
      }
      splitter.end()
    },
    note(message) {
      const entry = {
        level: 'info',
        time: new Date(options.now()).toISOString(),
        stream: 'supervisor',
        msg: message,
      }
      add(`${JSON.stringify(entry)}\n`)
    },
    recent(count) {
      const lines = kept.flatMap(linesOf)
      return lines.slice(Math.max(0, lines.length - count))
    },
    subscribe(listener) {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
    flushed: () => writer.drained(),
    close: () => writer.close(),
  }
}

/** Lines of which each has its newline. */
function linesOf(lines: string): string[] {
  return lines.slice(0, -1).split('\n')
}
