import { readdir } from 'node:fs/promises'
import { sendCommand } from '../../control/control-client.ts'
import { badCommand, OrchestratorError } from '../../errors.ts'
import { createLineFilter, type LogLevelName } from '../../logs/line-filter.ts'
import { toJsonLine } from '../../logs/log-entry.ts'
import { lastLines, mergeByTime, withoutOverlap, type LoggedLine } from '../../logs/past-lines.ts'
import { isNamed } from '../../running/is-named.ts'
import { logFile, type StateDirectory } from '../../state/state-directory.ts'
import { explainUnknown } from './running/added-since.ts'
import { locateState, type CommonOptions } from './context.ts'
import { formatLogLine } from '../../terminal/format-log-line.ts'

export interface LogsOptions extends CommonOptions {
  readonly follow?: boolean
  /** @defaultValue 100, and all of them with `since` */
  readonly lines?: number
  /** Milliseconds since the epoch. */
  readonly since?: number
  readonly until?: number
  readonly grep?: RegExp
  readonly level?: LogLevelName
}

/** Prints the last lines of an app, a process or everything, in order of time, and follows them. Works when nothing runs, too. */
export async function logs(name: string | undefined, options: LogsOptions): Promise<void> {
  if (options.follow && options.until !== undefined) {
    throw badCommand('logs: what is to come has no end: give --follow or --until.')
  }
  const isWanted = createLineFilter(options)
  const count = options.lines ?? (options.since === undefined ? 100 : Number.POSITIVE_INFINITY)
  const state = locateState(options)
  const known = await knownProcesses(state)
  const ids = known.filter((id) => name === undefined || isNamed(id, name))
  if (ids.length === 0) {
    const which =
      name === undefined
        ? 'There are no logs yet.'
        : `There is no app or process "${name}". There are: ${known.join(', ')}.`
    const unknown = new OrchestratorError(which, {
      code: 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS',
      kind: 'not-found',
    })
    throw await (name === undefined ? unknown : explainUnknown(name, options, Promise.reject(unknown)))
  }
  const show = ({ id, line }: LoggedLine): void => {
    process.stdout.write(
      `${options.json ? toJsonLine(line) : formatLogLine(ids.length === 1 ? undefined : id, line)}\n`,
    )
  }
  // What arrives while the files are read is shown after them.
  const early: LoggedLine[] = []
  let onLine = (line: LoggedLine): void => void early.push(line)
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  const followed = Promise.withResolvers<void>()
  const following = options.follow
    ? sendCommand(
        state.root,
        { command: 'follow', ...(name === undefined ? {} : { name }) },
        {
          onStarted: followed.resolve,
          onLine: (line) => {
            if (isWanted(line.line)) onLine(line)
          },
          signal: stop.signal,
        },
      )
    : undefined
  // From here on the files have all that came before the first line that is called back.
  await Promise.race([followed.promise, following])
  const past = await Promise.all(
    ids.map(async (id) =>
      (await lastLines(logFile(state, id), count, isWanted)).map((line) => ({ id, line })),
    ),
  )
  for (const line of mergeByTime(past).slice(-count)) show(line)
  for (const line of unread(past, early)) show(line)
  onLine = show
  await following
}

/** What came while the files were read and is not in them yet. */
function unread(past: readonly (readonly LoggedLine[])[], early: readonly LoggedLine[]): LoggedLine[] {
  const left = [...Map.groupBy(early, ({ id }) => id)].map(([id, lines]) => {
    const read = past.find(([first]) => first?.id === id) ?? []
    const rest = withoutOverlap(
      read.map(({ line }) => line),
      lines.map(({ line }) => line),
    )
    return rest.map((line) => ({ id, line }))
  })
  return mergeByTime(left)
}

/** Those that have a log: `media.http.log` is that of `media/http`. */
async function knownProcesses(state: StateDirectory): Promise<string[]> {
  const names = await readdir(state.logs).catch(() => [])
  const current = names.filter(
    (name) => name.endsWith('.log') && !/\.\d{8}T\d{9}Z\.log$/.test(name) && name !== 'supervisor.log',
  )
  return current.map((name) => name.slice(0, -'.log'.length).replace('.', '/')).toSorted()
}
