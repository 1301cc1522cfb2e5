import { type ChangeOptions, createSettings, type Settings } from '@quintet/core/settings'
import { hostname, userInfo } from 'node:os'
import { badCommand, isCode, type OrchestratorError } from '../../errors.ts'
import { loadSystem } from '../../plan/load-system.ts'
import type { PlannedApp } from '../../plan/plan.ts'
import { assertProvisioned, openAppDatabases } from '../../servers/app-databases.ts'
import { loadContext, print, type CommonOptions } from './context.ts'
import { table } from '../../terminal/table.ts'
import { selectSystems } from './select-apps.ts'

type Declared = Parameters<typeof createSettings>[0]['schema']

/** The settings of one app, opened for a command. */
interface OpenSettings {
  readonly app: string
  readonly settings: Settings<Declared>
  /** Reads what is stored. A change does not need it, so that it can also mend a value that does not fit any more. */
  load(): Promise<Readonly<Record<string, unknown>>>
}

export interface SettingChangeOptions extends CommonOptions {
  readonly actor?: string
  readonly reason?: string
}

/** Prints every setting with its value, who gave it and when. */
export async function listSettings(name: string | undefined, options: CommonOptions): Promise<void> {
  const entries = await withSettings(name, options, async ({ app, settings, load }) => {
    const values = await load()
    return await Promise.all(
      Object.entries(values).map(async ([key, value]) => {
        const [last] = await settings.history(key, 1)
        const { version = 0, actor = null, reason = null, changedAt = null } = last ?? {}
        return { app, key, value, isDefault: last?.value === undefined, version, actor, reason, changedAt }
      }),
    )
  })
  print(options, entries.flat(), (all) =>
    table([
      ['APP', 'KEY', 'VALUE', 'VERSION', 'SET BY', 'AT'],
      ...all.map((each) => [
        each.app,
        each.key,
        `${JSON.stringify(each.value)}${each.isDefault ? ' (default)' : ''}`,
        String(each.version),
        each.actor ?? '-',
        each.changedAt?.toISOString() ?? '-',
      ]),
    ]),
  )
}

/** Prints the value of one setting, as JSON. */
export async function getSetting(name: string, key: string, options: CommonOptions): Promise<void> {
  const value = await withOne(name, options, async ({ settings, load }) => {
    // Refuses a name that is none.
    await settings.history(key, 1)
    const values = await load()
    return values[key]
  })
  print(options, value, (each) => JSON.stringify(each))
}

/** Changes a setting in every process of the app, with a record of who did. */
export async function setSetting(
  name: string,
  key: string,
  text: string,
  options: SettingChangeOptions & { readonly expectedVersion?: number },
): Promise<void> {
  const value = parseValue(text)
  const { expectedVersion } = options
  const version = await withOne(name, options, ({ settings }) =>
    settings.change(key, value, {
      ...changedBy(options),
      ...(expectedVersion === undefined ? {} : { expectedVersion }),
    }),
  )
  print(options, { app: name, key, version }, () => `${key} is ${JSON.stringify(value)} (version ${version})`)
}

/** Gives a setting the value again that it had at a version. */
export async function rollbackSetting(
  name: string,
  key: string,
  version: number,
  options: SettingChangeOptions,
): Promise<void> {
  const result = await withOne(name, options, async ({ settings }) => {
    const made = await settings.rollback(key, version, changedBy(options))
    return { app: name, key, version: made, value: valuesOf(settings)[key] }
  })
  print(options, result, (each) => `${key} is ${JSON.stringify(each.value)} (version ${each.version})`)
}

/** Prints the changes of a setting, the newest first. */
export async function settingHistory(
  name: string,
  key: string,
  options: CommonOptions & { readonly lines: number },
): Promise<void> {
  const changes = await withOne(name, options, ({ settings }) => settings.history(key, options.lines))
  const shown = changes.map((change) => ({
    ...change,
    value: change.value ?? null,
    isDefault: change.value === undefined,
    reason: change.reason ?? null,
  }))
  print(options, shown, (all) =>
    table([
      ['VERSION', 'VALUE', 'BY', 'AT', 'REASON'],
      ...all.map((change) => [
        String(change.version),
        change.isDefault ? '(default)' : JSON.stringify(change.value),
        change.actor,
        change.changedAt.toISOString(),
        change.reason ?? '-',
      ]),
    ]),
  )
}

async function withOne<T>(
  name: string,
  options: CommonOptions,
  run: (open: OpenSettings) => Promise<T>,
): Promise<T> {
  const [result] = await withSettings(name, options, run)
  return result as T
}

/** Runs something for each app that declares settings, under the login of its system work. */
async function withSettings<T>(
  name: string | undefined,
  options: CommonOptions,
  run: (open: OpenSettings) => Promise<T>,
): Promise<T[]> {
  const { plan, state } = await loadContext(options)
  const declared: { app: PlannedApp; settings: { schema: Declared; namespace: string } }[] = []
  for (const app of selectSystems(plan, name)) {
    const { settings } = await loadSystem(app.bootstrap, app.name)
    if (settings !== undefined && app.requires.postgres) declared.push({ app, settings })
  }
  if (declared.length === 0) throw withoutSettings(name)
  for (const { app } of declared) assertProvisioned(plan, app.name, state)
  await using databases = await openAppDatabases(plan, state, (event) => {
    if (event.type === 'progress' && !options.json) process.stderr.write(`${event.message}\n`)
  })
  const { Pool } = await import('pg')
  const results: T[] = []
  for (const { app, settings: declaration } of declared) {
    await using closing = new AsyncDisposableStack()
    const pool = new Pool({ connectionString: databases.urls(app.name).systemUrl, max: 2 })
    closing.defer(() => pool.end())
    const settings = closing.use(createSettings({ ...declaration, pool }))
    const load = async (): Promise<Readonly<Record<string, unknown>>> => {
      await settings.loadAndApply()
      return valuesOf(settings)
    }
    try {
      results.push(await run({ app: app.name, settings, load }))
    } catch (error) {
      throw explain(error, app)
    }
  }
  return results
}

/** Nothing is known here about the schema of an app. */
function valuesOf(settings: Settings<Declared>): Readonly<Record<string, unknown>> {
  return settings.values as Readonly<Record<string, unknown>>
}

function withoutSettings(name: string | undefined): OrchestratorError {
  const who = name === undefined ? 'No app here has' : `The app "${name}" has no`
  return badCommand(
    `${who} settings in PostgreSQL. An app that has some says so in defineSystem: settings: { schema, namespace } and requires: { postgres: true }.`,
  )
}

/** What PostgreSQL says of a missing table or right, in terms of what to do about it. */
function explain(error: unknown, app: PlannedApp): unknown {
  if (isCode(error, '42P01')) {
    return badCommand(
      `The database of "${app.name}" has no tables for settings. Put core's settingsSchemaSql into a migration, and run "quintet migrate up ${app.name}".`,
      error,
    )
  }
  if (isCode(error, '42501')) {
    return badCommand(
      `The system login of "${app.name}" may not use the tables of its settings. Grant it select, insert, update and delete on them in a migration.`,
      error,
    )
  }
  return error
}

/** Who makes the change: whoever was named, else whoever sits at this terminal, also behind sudo. */
function changedBy({ actor, reason }: SettingChangeOptions): ChangeOptions {
  const user = process.env['SUDO_USER'] || userInfo().username
  return { actor: actor ?? `${user}@${hostname()}`, ...(reason === undefined ? {} : { reason }) }
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw badCommand(`${text} is not JSON. A text needs quotes of its own: '${JSON.stringify(text)}'.`)
  }
}
