import { closeSync, fstatSync, openSync, readSync, watch } from 'node:fs'
import { join } from 'node:path'

/** What a holder writes down. */
export type HolderEvent =
  | { readonly type: 'holding'; readonly pid: number }
  | { readonly type: 'started'; readonly generation: number; readonly pid: number }
  /** @property code as a shell says it: 128 and the number of the signal for a process that was killed by one. */
  | { readonly type: 'ended'; readonly generation: number; readonly code: number }

/** Follows the events of a holder from the beginning: those that are there are told before this returns. */
export interface HolderEvents extends Disposable {
  /** Looks again, and tells what is new. */
  read(): void
}

export function followEvents(folder: string, onEvent: (event: HolderEvent) => void): HolderEvents {
  const file = join(folder, 'events')
  let offset = 0
  let rest = ''
  let closed = false

  function read(): void {
    if (closed) return
    for (const line of take()) {
      const event = parse(line)
      if (event && !closed) onEvent(event)
    }
  }

  function take(): string[] {
    let fd: number
    try {
      fd = openSync(file, 'r')
    } catch {
      // Not there yet.
      return []
    }
    try {
      const size = fstatSync(fd).size
      if (size <= offset) return []
      const buffer = Buffer.alloc(size - offset)
      offset += readSync(fd, buffer, 0, buffer.length, offset)
      const lines = `${rest}${buffer.toString('latin1')}`.split('\n')
      rest = lines.pop() ?? ''
      return lines
    } finally {
      closeSync(fd)
    }
  }

  const stopWatching = watchFolder(folder, read)
  read()
  return {
    read,
    [Symbol.dispose]() {
      closed = true
      stopWatching()
    },
  }
}

/** How often the events are looked at where folders cannot be watched, because too many are already. */
const lookInterval = 200

function watchFolder(folder: string, onChange: () => void): () => void {
  try {
    const watcher = watch(folder, onChange)
    watcher.on('error', () => undefined)
    watcher.unref()
    return () => watcher.close()
  } catch {
    const timer = setInterval(onChange, lookInterval)
    timer.unref()
    return () => clearInterval(timer)
  }
}

function parse(line: string): HolderEvent | undefined {
  const [type, first, second] = line.split(' ')
  const [a, b] = [Number(first), Number(second)]
  if (type === 'holding' && isCount(a)) return { type, pid: a }
  if (type === 'started' && isCount(a) && isCount(b)) return { type, generation: a, pid: b }
  if (type === 'ended' && isCount(a) && isCount(b)) return { type, generation: a, code: b }
  return undefined
}

function isCount(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0
}
