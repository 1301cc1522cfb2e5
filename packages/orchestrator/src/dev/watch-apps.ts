import { watch, type FSWatcher } from 'chokidar'
import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Stats } from 'node:fs'
import { extname, matchesGlob, relative } from 'node:path'
import type { RunningEcosystem } from '../running/running-ecosystem.ts'
import { describeError } from '../errors.ts'
import type { PlannedApp } from '../plan/plan.ts'

export interface WatchAppsOptions {
  /** Told about each restart and what it came of. */
  readonly onMessage: (message: string) => void
  /** Resolves when all folders have been read. */
  readonly onReady?: () => void
}

/** A save often touches several files: wait until it has been quiet for this long, in milliseconds. */
const quiet = 100

/**
 * Restarts an app when the content of a file in its folder changes. One restart at a time: what changes
 * meanwhile leads to one more, at once, for the code that is starting is not what is wanted any more.
 */
export function watchApps(ecosystem: RunningEcosystem, options: WatchAppsOptions): AsyncDisposable {
  const watched = ecosystem.plan.apps.flatMap((app) =>
    app.watch ? [watchApp(app, app.watch, ecosystem, options)] : [],
  )
  void Promise.all(watched.map(({ ready }) => ready)).then(() => options.onReady?.())
  return {
    async [Symbol.asyncDispose]() {
      await Promise.all(watched.map(({ watcher }) => watcher.close()))
    },
  }
}

function watchApp(
  app: PlannedApp,
  { directory, ignore }: NonNullable<PlannedApp['watch']>,
  ecosystem: RunningEcosystem,
  { onMessage }: WatchAppsOptions,
): { readonly watcher: FSWatcher; readonly ready: Promise<void> } {
  const contents = new Map<string, string>()
  let changed: string | undefined
  let timer: NodeJS.Timeout | undefined
  let restarting: AbortController | undefined

  const isIgnored = (path: string, stats?: Stats): boolean => {
    const name = relative(directory, path)
    return !isSource(name, stats) || ignore.some((glob) => name !== '' && matchesGlob(name, glob))
  }

  /** Whether the content is another one than the last time; a file that is touched has not changed. */
  async function differs(path: string): Promise<boolean> {
    const content = await readFile(path).catch(() => undefined)
    const hash = content === undefined ? '' : createHash('sha256').update(content).digest('base64')
    const before = contents.get(path)
    contents.set(path, hash)
    return before !== hash
  }

  async function restart(): Promise<void> {
    if (changed === undefined) return
    if (restarting) return restarting.abort()
    const { signal } = (restarting = new AbortController())
    const file = changed
    changed = undefined
    try {
      onMessage(`${app.name}: ${relative(directory, file)} changed, restarting`)
      await ecosystem.restart(app.name, { cause: 'deployment', signal })
    } catch (error) {
      if (!signal.aborted) onMessage(`${app.name}: the restart failed. ${describeError(error)}`)
    } finally {
      restarting = undefined
    }
    schedule()
  }

  function schedule(): void {
    clearTimeout(timer)
    if (changed !== undefined) timer = setTimeout(() => void restart(), quiet)
  }

  const watcher = watch(directory, { ignored: isIgnored })
  const initial: Promise<boolean>[] = []
  let scanned = false
  const onFile = async (path: string): Promise<void> => {
    const difference = differs(path)
    if (!scanned) return void initial.push(difference)
    if (!(await difference)) return
    changed = path
    schedule()
  }
  for (const event of ['add', 'change', 'unlink'] as const) watcher.on(event, (path) => void onFile(path))
  const ready = new Promise<void>((resolve) => {
    watcher.once('ready', () => {
      scanned = true
      void Promise.all(initial).then(() => resolve())
    })
  })
  return { watcher, ready }
}

/** Whether a path below a watched folder is code, or leads to it. */
export function isSource(name: string, stats?: Stats): boolean {
  if (name === '') return true
  if (stats?.isFile() === true && !sources.has(extname(name))) return false
  return !name.split('/').some((part) => part.startsWith('.') || never.has(part))
}

/** Folders with what programs write. */
const never = new Set(['node_modules', 'dist', 'coverage', 'data', 'logs', 'log', 'tmp', 'uploads'])

/** What an app is made of; logs, databases and other data that it writes restart nothing. */
const sources = new Set(
  '.ts .mts .cts .tsx .js .mjs .cjs .jsx .json .sql .yaml .yml .toml .env .html .css .graphql .wasm'.split(
    ' ',
  ),
)
