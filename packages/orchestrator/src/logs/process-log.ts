import { toLogLine } from './log-entry.ts'
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

const keptLines = 500
const keptBytes = 256 * 1024

export async function openProcessLog(
  options: LogWriterOptions & { readonly now: () => number },
): Promise<ProcessLog> {
  const writer = await openLogWriter(options)
  const listeners = new Set<LogListener>()
  const kept: string[] = []
  let keptSize = 0

  function add(line: string): boolean {
    kept.push(line)
    keptSize += line.length
    while (kept.length > keptLines || (keptSize > keptBytes && kept.length > 1))
      keptSize -= kept.shift()?.length ?? 0
    for (const listener of listeners) listener(line)
    return writer.write(line)
  }

  return {
    get dropped() {
      return writer.dropped
    },
    async consume(stream, name) {
      let keepsUp = true
      const splitter = createLineSplitter((line) => {
        keepsUp = add(toLogLine(line, name, options.now()))
      })
      try {
        for await (const chunk of stream) {
          splitter.push(chunk as Buffer)
          if (!keepsUp) await writer.drained()
        }
      } catch {
        // The stream was taken away together with the process.
      }
      splitter.end()
    },
    note(message) {
      add(
        JSON.stringify({
          level: 'info',
          time: new Date(options.now()).toISOString(),
          stream: 'supervisor',
          msg: message,
        }),
      )
    },
    recent: (count) => kept.slice(Math.max(0, kept.length - count)),
    subscribe(listener) {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
    flushed: () => writer.drained(),
    close: () => writer.close(),
  }
}
