import { writeSync } from 'node:fs'
import { pino, type DestinationStream } from 'pino'

/** pino's numbers of levels. */
const warn = 40
const fatal = 60

/** Has pino tell a stream the level of each line, as `lastLevel`. */
const wantsLevels = Symbol.for('pino.metadata')

/** How long a line waits for others, in milliseconds. */
const waitTime = 10
/** So many characters are written without waiting for more. */
const longest = 64 * 1024

let shared: DestinationStream | undefined

/**
 * Standard output for all loggers of this process, buffered: a system call for each line costs more than the line. Undefined
 * where something has taken the place of `process.stdout.write`.
 *
 * A line below the level `warn` waits for at most 10 ms; another, and every line once the process exits, takes those before
 * it along at once. Nothing waits for the reader but a `fatal` line and the exit.
 */
export function standardOutput(): DestinationStream | undefined {
  // oxlint-disable-next-line unbound-method
  if (process.stdout.write !== (process.stdout.constructor.prototype as NodeJS.WriteStream).write)
    return undefined
  return (shared ??= createBuffer())
}

function createBuffer(): DestinationStream {
  // A thread has no descriptor of its own.
  const fd = process.stdout.fd ?? 1
  const output = pino.destination({ dest: fd, sync: false })
  let buffered = ''
  let timer: NodeJS.Timeout | undefined
  let exiting = false
  const write = (): void => {
    if (buffered === '') return
    const lines = buffered
    buffered = ''
    output.write(lines)
  }
  const endWait = (): void => {
    timer = undefined
    write()
  }
  const flushSync = (): void => {
    output.flushSync()
    const lines = buffered
    buffered = ''
    writeAllSync(fd, lines)
  }
  process.once('exit', () => {
    exiting = true
    flushSync()
  })
  const stream = {
    [wantsLevels]: true,
    /** Of the line that is being written. */
    lastLevel: 0,
    write(line: string) {
      buffered += line
      if (exiting || stream.lastLevel >= fatal) flushSync()
      else if (stream.lastLevel >= warn || buffered.length >= longest) write()
      else timer ??= setTimeout(endWait, waitTime).unref()
    },
    flushSync,
  }
  return stream
}

/** Waits for the reader, unless it has gone. */
function writeAllSync(fd: number, text: string): void {
  let rest: Uint8Array = Buffer.from(text)
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') return
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, waitTime)
    }
  }
}
