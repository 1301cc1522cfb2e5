import { createReadStream } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { createGunzip } from 'node:zlib'
import { sendCommand } from '../../control/control-client.ts'
import { OrchestratorError } from '../../errors.ts'
import { toJsonLine } from '../../logs/log-entry.ts'
import { rotatedFiles } from '../../logs/log-writer.ts'
import { logFile, type StateDirectory } from '../../state/state-directory.ts'
import { locateState, type CommonOptions } from './context.ts'
import { formatLogLine } from '../../terminal/format-log-line.ts'

export interface LogsOptions extends CommonOptions {
  readonly follow?: boolean
  readonly lines: number
}

interface Line {
  readonly id: string
  readonly line: string
}

/** Prints the last lines of an app, a process or everything, in order of time, and follows them. Works when nothing runs, too. */
export async function logs(name: string | undefined, options: LogsOptions): Promise<void> {
  const state = locateState(options)
  const known = await knownProcesses(state)
  const ids = known.filter((id) => name === undefined || id === name || id.startsWith(`${name}/`))
  if (ids.length === 0) {
    const which =
      name === undefined
        ? 'There are no logs yet.'
        : `There is no app or process "${name}". There are: ${known.join(', ')}.`
    throw new OrchestratorError(which, { code: 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS', kind: 'not-found' })
  }
  const show = ({ id, line }: Line): void => {
    process.stdout.write(
      `${options.json ? toJsonLine(line) : formatLogLine(ids.length === 1 ? undefined : id, line)}\n`,
    )
  }
  // What arrives while the files are read is shown after them.
  const early: Line[] = []
  let onLine = (line: Line): void => void early.push(line)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  const following = options.follow
    ? sendCommand(
        state.root,
        { command: 'follow', ...(name === undefined ? {} : { name }) },
        { onLine: (line) => onLine(line), signal: stop.signal },
      )
    : undefined
  const past = await Promise.all(
    ids.map(async (id) => (await lastLines(logFile(state, id), options.lines)).map((line) => ({ id, line }))),
  )
  const merged = past.flat().toSorted((a, b) => timeOf(a.line) - timeOf(b.line))
  const seen = new Set(merged.map(({ id, line }) => `${id} ${line}`))
  for (const line of merged.slice(-options.lines)) show(line)
  for (const line of early) if (!seen.has(`${line.id} ${line.line}`)) show(line)
  onLine = show
  await following
}

/** Those that have a log: `media.http.log` is that of `media/http`. */
async function knownProcesses(state: StateDirectory): Promise<string[]> {
  const names = await readdir(state.logs).catch(() => [])
  const current = names.filter(
    (name) => name.endsWith('.log') && !/\.\d{8}T\d{9}Z\.log$/.test(name) && name !== 'supervisor.log',
  )
  return current.map((name) => name.slice(0, -'.log'.length).replace('.', '/')).toSorted()
}

/** From the current file, and from rotated ones as far as it is not enough. */
async function lastLines(file: string, count: number): Promise<string[]> {
  let kept: string[] = []
  const files = [...(await rotatedFiles(file).catch(() => [])), file]
  for (const each of files.toReversed()) {
    kept = [...(await tail(each, count - kept.length)), ...kept]
    if (kept.length >= count) break
  }
  return kept
}

async function tail(file: string, count: number): Promise<string[]> {
  const kept: string[] = []
  const raw = createReadStream(file)
  const input = file.endsWith('.gz') ? raw.pipe(createGunzip()) : raw
  try {
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      kept.push(line)
      if (kept.length > count) kept.shift()
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
  }
  return kept
}

/** Loggers write the time as text or, as pino does by default, as milliseconds. */
function timeOf(line: string): number {
  const [, text, milliseconds] = /"time":(?:"([^"]+)"|(\d+))/.exec(line) ?? []
  return text === undefined ? Number(milliseconds ?? 0) : Date.parse(text) || 0
}
