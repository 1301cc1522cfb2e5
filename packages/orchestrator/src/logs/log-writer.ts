import { createReadStream, createWriteStream } from 'node:fs'
import { open, readdir, rename, rm, stat, type FileHandle } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { lostLine } from './log-entry.ts'

export interface LogWriterOptions {
  /** The current file; older ones lie beside it. */
  readonly file: string
  /** Bytes. */
  readonly maxSize: number
  /** With the current one. */
  readonly maxFiles: number
  readonly compress: boolean
}

/** The one writer of a log. */
export interface LogWriter {
  /**
   * False: the disk is slower than the output; wait for `room` before more.
   *
   * @param lines whole lines, each with its newline.
   */
  write(lines: string): boolean
  /** Resolves when little waits to be written. */
  room(): Promise<void>
  drained(): Promise<void>
  /** Lines that could not be written, e.g. because the disk was full. */
  readonly dropped: number
  close(): Promise<void>
}

const highWater = 1024 * 1024

/** What is written at once, in bytes, at the most, but for a line that is longer. */
const batchSize = 256 * 1024

const lookInterval = 1_000

/**
 * Appends lines to a file and rotates it by renaming, between two lines: `web.log` becomes
 * `web.<time>.log`, and with `compress` that becomes `web.<time>.log.gz` by way of a temporary file. The oldest ones
 * beyond `maxFiles` are removed.
 */
export async function openLogWriter(options: LogWriterOptions): Promise<LogWriter> {
  const { file, maxSize, maxFiles, compress } = options
  let handle: FileHandle = await open(file, 'a', 0o600)
  let size = (await handle.stat()).size
  const waiting: Buffer[] = []
  let waitingBytes = 0
  let onRoom: (() => void)[] = []
  let dropped = 0
  /** Dropped, and not yet told in the file. */
  let untold = 0
  /** A line that a writer before left without its end, which would swallow the next one. */
  let isTorn = await endsTorn(file, size)
  let rotatedAt = 0
  let flushing: Promise<void> | undefined
  let housekeeping: Promise<void> = Promise.resolve()

  let lookedAt = performance.now()
  await removeUnfinished(file)

  /** A log that was removed or renamed is opened anew; looked at once a second at most. */
  async function reopenWhenGone(): Promise<void> {
    if (performance.now() - lookedAt < lookInterval) return
    lookedAt = performance.now()
    const [named, opened] = await Promise.all([stat(file).catch(() => undefined), handle.stat()])
    if (named?.ino === opened.ino) return
    const fresh = await open(file, 'a', 0o600)
    await handle.close()
    handle = fresh
    size = named?.size ?? 0
    isTorn = await endsTorn(file, size)
  }

  async function flush(): Promise<void> {
    while (waiting.length > 0) {
      const batch = takeBatch()
      try {
        await reopenWhenGone()
        await append(batch)
      } catch {
        const lines = batch.reduce((sum, block) => sum + countLines(block), 0)
        dropped += lines
        untold += lines
        continue
      } finally {
        makeRoom()
      }
      // Where there is no room for another file, this one grows.
      if (size >= maxSize) await rotate().catch(() => undefined)
    }
    flushing = undefined
  }

  function makeRoom(): void {
    if (waitingBytes >= highWater / 2) return
    for (const resolve of onRoom) resolve()
    onRoom = []
  }

  /** Writes all of it, after what was lost before, or nothing. */
  async function append(blocks: readonly Buffer[]): Promise<void> {
    const before = Buffer.from(`${isTorn ? '\n' : ''}${untold === 0 ? '' : `${lostLine(untold)}\n`}`)
    const bytes = Buffer.concat([before, ...blocks])
    try {
      await handle.appendFile(bytes)
    } catch (error) {
      await handle.truncate(size).catch(() => (isTorn = true))
      throw error
    }
    size += bytes.length
    untold = 0
    isTorn = false
  }

  /** As many lines as fit into the file, and at least one. */
  function takeBatch(): Buffer[] {
    const batch: Buffer[] = []
    let bytes = 0
    for (let block = waiting[0]; block && bytes < batchSize; block = waiting[0]) {
      const room = maxSize - size - bytes
      if (block.length > room) {
        const end = endWithin(block, room, bytes === 0)
        if (end === 0) break
        batch.push(block.subarray(0, end))
        bytes += end
        if (end < block.length) waiting[0] = block.subarray(end)
        else waiting.shift()
        break
      }
      batch.push(block)
      bytes += block.length
      waiting.shift()
    }
    waitingBytes -= bytes
    return batch
  }

  async function rotate(): Promise<void> {
    // Two rotations within one millisecond must not meet in one name.
    rotatedAt = Math.max(Date.now(), rotatedAt + 1)
    const time = new Date(rotatedAt).toISOString().replaceAll(/[-:.]/g, '')
    const old = `${file.slice(0, -'.log'.length)}.${time}.log`
    await rename(file, old)
    const fresh = await open(file, 'a', 0o600)
    await handle.close()
    handle = fresh
    size = 0
    housekeeping = housekeeping.then(() => tidy(old)).catch(() => undefined)
  }

  async function tidy(old: string): Promise<void> {
    const files = await rotatedFiles(file)
    const surplus = files.slice(0, Math.max(0, files.length - (maxFiles - 1)))
    for (const each of surplus) await rm(each, { force: true })
    // After a burst of rotations most are gone before it is their turn.
    if (compress && (await stat(old).catch(() => undefined))) await compressFile(old)
  }

  return {
    get dropped() {
      return dropped
    },
    write(lines) {
      const block = Buffer.from(lines)
      waiting.push(block)
      waitingBytes += block.length
      flushing ??= flush()
      return waitingBytes < highWater
    },
    room() {
      if (waitingBytes < highWater / 2) return Promise.resolve()
      return new Promise((resolve) => void onRoom.push(resolve))
    },
    async drained() {
      await flushing
    },
    async close() {
      while (flushing) await flushing
      await housekeeping
      await handle.close()
    },
  }
}

const newline = 0x0a

/** Where the last line ends that fits into so many bytes; with `force` that of the first line, should none fit. */
function endWithin(lines: Buffer, room: number, force: boolean): number {
  const end = room <= 0 ? 0 : lines.lastIndexOf(newline, room - 1) + 1
  return end === 0 && force ? lines.indexOf(newline) + 1 : end
}

function countLines(lines: Buffer): number {
  let count = 0
  for (let at = lines.indexOf(newline); at !== -1; at = lines.indexOf(newline, at + 1)) count += 1
  return count
}

async function compressFile(file: string): Promise<void> {
  const unfinished = `${file}.gz.tmp`
  try {
    await pipeline(createReadStream(file), createGzip(), createWriteStream(unfinished, { mode: 0o600 }))
    await rename(unfinished, `${file}.gz`)
  } catch (error) {
    await rm(unfinished, { force: true })
    throw error
  }
  await rm(file)
}

async function endsTorn(file: string, size: number): Promise<boolean> {
  if (size === 0) return false
  const handle = await open(file)
  try {
    const { buffer } = await handle.read(Buffer.alloc(1), 0, 1, size - 1)
    return buffer.toString() !== '\n'
  } finally {
    await handle.close()
  }
}

/** What a process that was killed while it compressed has left; the file itself is still there. */
async function removeUnfinished(file: string): Promise<void> {
  const folder = dirname(file)
  const stem = basename(file).slice(0, -'.log'.length)
  const names = (await readdir(folder)).filter(
    (name) => name.startsWith(`${stem}.`) && /^\d{8}T\d{9}Z\.log\.gz\.tmp$/.test(name.slice(stem.length + 1)),
  )
  await Promise.all(names.map((name) => rm(join(folder, name), { force: true })))
}

/** The rotated files of a log, oldest first. */
export async function rotatedFiles(file: string): Promise<string[]> {
  const folder = dirname(file)
  const stem = basename(file).slice(0, -'.log'.length)
  const names = await readdir(folder)
  const rotated = names.filter(
    (name) => name.startsWith(`${stem}.`) && /^\d{8}T\d{9}Z\.log(?:\.gz)?$/.test(name.slice(stem.length + 1)),
  )
  return rotated.toSorted().map((name) => join(folder, name))
}
