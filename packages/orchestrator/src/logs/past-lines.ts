import { createReadStream, type ReadStream } from 'node:fs'
import { open, stat } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { createGunzip } from 'node:zlib'
import { timeOfLine } from './log-entry.ts'
import { rotatedFiles } from './log-writer.ts'

/** A line of the log of a process. */
export interface LoggedLine {
  readonly id: string
  readonly line: string
}

/** How often a log that is rotated while it is read is read again. */
const attempts = 20

/**
 * The last lines of a log that are wanted, from the current file and from rotated ones as far as it is not enough. When the log is
 * rotated meanwhile it is read again: the file that was renamed would be missing from what was read.
 */
export async function lastLines(
  file: string,
  count: number,
  isWanted: (line: string) => boolean = () => true,
): Promise<string[]> {
  for (let attempt = 1; ; attempt++) {
    const before = await state(file)
    const lines = await readBack(before.files, count, isWanted)
    const after = await state(file)
    if (before.generation === after.generation || attempt === attempts) return lines
  }
}

interface LogState {
  /** Oldest first. */
  readonly files: readonly string[]
  /** Another one after a rotation. */
  readonly generation: string
}

async function state(file: string): Promise<LogState> {
  const rotated = await rotatedFiles(file).catch((): string[] => [])
  const current = await stat(file).catch(() => undefined)
  const newest = rotated.at(-1)?.replace(/\.gz$/, '') ?? ''
  // For a moment a file stands beside what it was compressed into.
  const once = rotated.filter(
    (each) => !each.endsWith('.gz') || !rotated.includes(each.slice(0, -'.gz'.length)),
  )
  return { files: [...once, file], generation: `${newest} ${current?.ino ?? ''}` }
}

async function readBack(
  files: readonly string[],
  count: number,
  isWanted: (line: string) => boolean,
): Promise<string[]> {
  let kept: string[] = []
  for (const each of files.toReversed()) {
    kept = [...(await tail(each, count - kept.length, isWanted)), ...kept]
    if (kept.length >= count) break
  }
  return kept
}

async function tail(file: string, count: number, isWanted: (line: string) => boolean): Promise<string[]> {
  const opened = await openLog(file)
  if (opened === undefined) return []
  const kept: string[] = []
  const input = opened.compressed ? opened.stream.pipe(createGunzip()) : opened.stream
  for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
    if (!isWanted(line)) continue
    kept.push(line)
    if (kept.length > count) kept.shift()
  }
  return kept
}

/** A file that was compressed since it was listed has another name; undefined when it has been removed. */
async function openLog(file: string): Promise<{ stream: ReadStream; compressed: boolean } | undefined> {
  for (const name of file.endsWith('.gz') ? [file] : [file, `${file}.gz`]) {
    const handle = await open(name).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') throw error
    })
    if (handle)
      return {
        stream: createReadStream('', { fd: handle, autoClose: true }),
        compressed: name.endsWith('.gz'),
      }
  }
  return undefined
}

/**
 * The lines of several logs in the order of their time. Those of one log keep their order, also where its clock was set
 * back.
 */
export function mergeByTime(logs: readonly (readonly LoggedLine[])[]): LoggedLine[] {
  const dated = logs.flatMap((log) => {
    let latest = 0
    return log.map((entry) => {
      latest = Math.max(latest, timeOfLine(entry.line) ?? 0)
      return { entry, time: latest }
    })
  })
  return dated.toSorted((a, b) => a.time - b.time).map(({ entry }) => entry)
}

/** What followed after lines that were read: without those of its beginning with which the lines that were read end. */
export function withoutOverlap(read: readonly string[], followed: readonly string[]): readonly string[] {
  for (let length = Math.min(read.length, followed.length); length > 0; length--) {
    const start = read.length - length
    if (followed.slice(0, length).every((line, index) => line === read[start + index]))
      return followed.slice(length)
  }
  return followed
}
