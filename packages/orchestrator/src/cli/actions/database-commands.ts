import type { PolicySnapshot } from '@quintet/rls/catalogue'
import type { Client } from 'pg'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { badCommand } from '../../errors.ts'
import type { PlannedApp } from '../../plan/plan.ts'
import { databaseName } from '../../plan/database-name.ts'
import { assertProvisioned, openAppDatabases, type AppDatabases } from '../../servers/app-databases.ts'
import { withClient } from '../../servers/with-client.ts'
import type { EcosystemEvent } from '../../running/ecosystem-events.ts'
import { loadContext, print, type CommonOptions } from './context.ts'
import { refuseWhileServing, runningProcesses, type Serving } from './refuse-while-serving.ts'
import { selectApps } from './select-apps.ts'

/** Runs something for each app that has a database, with all databases open. */
async function eachApp<T>(
  name: string | undefined,
  options: CommonOptions,
  filter: (app: PlannedApp) => boolean,
  run: (app: PlannedApp, databases: AppDatabases, database: string) => Promise<T>,
): Promise<(T & { readonly app: string })[]> {
  const { plan, state } = await loadContext(options)
  const apps = selectApps(plan, name, filter)
  for (const app of apps) assertProvisioned(plan, app.name, state)
  await using databases = await openAppDatabases(plan, state, showProgress(options))
  const results: (T & { readonly app: string })[] = []
  for (const app of apps)
    results.push({ ...(await run(app, databases, databaseName(plan, app.name))), app: app.name })
  return results
}

function showProgress(options: CommonOptions): (event: EcosystemEvent) => void {
  return (event) => {
    if (event.type === 'progress' && !options.json) process.stderr.write(`${event.message}\n`)
  }
}

export interface MigrateOptions extends CommonOptions {
  readonly steps?: number
  /** The owner of the one database that is meant; then nothing is looked up in the data folder. */
  readonly ownerUrl?: string
  /** Although the app is serving. */
  readonly force?: boolean
}

/** The databases whose migrations are meant, each with the URL of its owner. */
async function eachOwner<T>(
  name: string | undefined,
  options: MigrateOptions,
  run: (app: PlannedApp, ownerUrl: string, serving: Serving) => Promise<T>,
): Promise<(T & { readonly app: string })[]> {
  const ownerUrl = options.ownerUrl ?? process.env['QUINTET_OWNER_URL']
  if (ownerUrl === undefined) {
    return eachApp(name, options, hasMigrations, (app, databases, database) =>
      run(app, databases.urls(app.name).ownerUrl, servingFrom(databases, app, database)),
    )
  }
  const { plan } = await loadContext(options)
  const [app, ...more] = selectApps(plan, name, hasMigrations)
  if (!app || more.length > 0)
    throw badCommand('An owner URL is that of one database: name the app whose migrations are meant.')
  const database = databaseName(plan, app.name)
  const serving: Serving = {
    processes: async () => [],
    sessions: () => withClient(ownerUrl, (client) => countSessions(client, database)),
  }
  return [{ ...(await run(app, ownerUrl, serving)), app: app.name }]
}

function servingFrom(databases: AppDatabases, app: PlannedApp, database: string): Serving {
  return {
    processes: async () =>
      databases.supervised === undefined ? [] : runningProcesses(databases.supervised, app.name),
    sessions: () => withClient(databases.adminUrl(app.name), (client) => countSessions(client, database)),
  }
}

/** How many sessions the logins of an app have: its processes, wherever they run. */
async function countSessions(client: Client, database: string): Promise<number> {
  const { rows } = await client.query<{ count: number }>(
    'select count(*)::int as count from pg_stat_activity where datname = current_database() and usename = any($1)',
    [[`${database}_login`, `${database}_system`]],
  )
  return rows[0]?.count ?? 0
}

/** Makes the databases and logins of apps, and prints what the apps need to reach them. */
export async function provision(
  name: string | undefined,
  options: CommonOptions & { readonly rotate?: boolean },
): Promise<void> {
  const { plan, state } = await loadContext(options)
  const apps = selectApps(plan, name, hasDatabase)
  await using databases = await openAppDatabases(plan, state, showProgress(options))
  const urls = await databases.provision(
    apps.map((app) => app.name),
    { rotate: options.rotate ?? false },
  )
  const results = apps.map((app) => ({
    app: app.name,
    database: databaseName(plan, app.name),
    environment: {
      [`${app.prefix}DATABASE__URL`]: urls[app.name]?.url,
      [`${app.prefix}DATABASE__SYSTEM_URL`]: urls[app.name]?.systemUrl,
    },
    ownerUrl: urls[app.name]?.ownerUrl,
  }))
  print(options, results, (all) =>
    all
      .map((each) =>
        [
          `# ${each.app}: database ${each.database}; its migrations run with --owner-url ${each.ownerUrl}`,
          ...Object.entries(each.environment).map(([key, value]) => `${key}=${value}`),
        ].join('\n'),
      )
      .join('\n\n'),
  )
}

const hasMigrations = (app: PlannedApp): boolean => app.requires.migrations !== null
const hasDatabase = (app: PlannedApp): boolean => app.requires.postgres

/** Brings databases up to date, takes migrations back, says what is pending, or takes the folder for the truth. */
export async function migrate(
  action: 'up' | 'down' | 'status' | 'repair',
  name: string | undefined,
  options: MigrateOptions,
): Promise<void> {
  const { createMigrator, formatMigrationStatus } = await import('@quintet/rls/migrations')
  const results = await eachOwner(name, options, async (app, ownerUrl, serving) => {
    const migrator = createMigrator({ ownerUrl, folder: app.requires.migrations ?? '' })
    if (action === 'status') return { migrations: await migrator.status() }
    if (action === 'up') return { done: await migrator.up() }
    if (action === 'repair') return { done: await migrator.repair() }
    await refuseWhileServing('migrate down', app.name, options, serving)
    return { done: await migrator.down(options.steps, { force: options.force ?? false }) }
  })
  print(options, results, (all) =>
    all
      .map((each) =>
        each.migrations
          ? `${each.app}\n${formatMigrationStatus(each.migrations)}`
          : `${each.app}: ${each.done?.length === 0 ? 'nothing to do' : `${action} ${each.done?.join(', ')}`}`,
      )
      .join('\n'),
  )
}

/** Looks for what would block the app in its pending migrations. Exit code 1 when there is something. */
export async function checkMigrations(name: string | undefined, options: CommonOptions): Promise<void> {
  const rls = await import('@quintet/rls/migrations')
  const results = await eachApp(name, options, hasMigrations, async (app, databases) => {
    const folder = app.requires.migrations ?? ''
    const names = await pendingMigrations(databases.adminUrl(app.name), folder)
    const adminUrl = databases.adminUrl(app.name)
    return { findings: names.length === 0 ? [] : await rls.checkMigrations({ adminUrl, folder, names }) }
  })
  if (results.some(({ findings }) => findings.length > 0)) process.exitCode = 1
  print(options, results, (all) =>
    all.map((each) => `${each.app}\n${rls.formatMigrationFindings(each.findings)}`).join('\n'),
  )
}

async function pendingMigrations(ownerUrl: string, folder: string): Promise<readonly string[]> {
  const { createMigrator } = await import('@quintet/rls/migrations')
  const status = await createMigrator({ ownerUrl, folder }).status()
  return status.filter(({ state }) => state === 'pending').map(({ name }) => name)
}

/** Writes an empty migration into the folder of an app. */
export async function newMigration(
  name: string,
  title: string,
  options: CommonOptions & { readonly sql?: boolean },
): Promise<void> {
  const { plan } = await loadContext(options)
  const [app] = selectApps(plan, name, hasMigrations)
  const { createMigrator } = await import('@quintet/rls/migrations')
  const folder = app?.requires.migrations ?? ''
  const path = await createMigrator({ ownerUrl: 'postgres://unused', folder }).new(title, {
    language: options.sql ? 'sql' : 'ts',
  })
  print(options, { path }, (made) => made.path)
}

/**
 * Looks for holes in the row-level security of each database, and for what is otherwise than its migrations make it.
 * Exit code 1 when there is an error.
 */
export async function rlsLint(name: string | undefined, options: CommonOptions): Promise<void> {
  const { lintCatalogue, formatLint } = await import('@quintet/rls/catalogue')
  const results = await eachApp(name, options, hasDatabase, async (app, databases, database) => {
    const { expected, pending } = await declared(app, databases, database)
    const findings = await withClient(databases.adminUrl(app.name), (client) =>
      lintCatalogue(client, {
        tenantRoles: [`${database}_tenant`, `${database}_login`],
        ...(expected === undefined ? {} : { expected }),
      }),
    )
    return { findings, pending }
  })
  if (results.some((each) => each.findings.some((finding) => finding.severity === 'error')))
    process.exitCode = 1
  print(options, results, (all) =>
    all
      .map(({ app, findings, pending }) =>
        [
          app,
          formatLint(findings),
          ...(pending.length === 0
            ? []
            : [`Not compared with its migrations: ${pending.join(', ')} have not run.`]),
        ].join('\n'),
      )
      .join('\n'),
  )
}

/** What the migrations of an app make of a database; nothing to compare with while some have not run. */
async function declared(
  app: PlannedApp,
  databases: AppDatabases,
  database: string,
): Promise<{ readonly expected?: PolicySnapshot; readonly pending: readonly string[] }> {
  const folder = app.requires.migrations
  if (folder === null) return { pending: [] }
  const pending = await pendingMigrations(databases.adminUrl(app.name), folder)
  if (pending.length > 0) return { pending }
  const { readDeclaredSnapshot } = await import('@quintet/rls/catalogue')
  const { databaseRoles } = await import('@quintet/rls')
  const adminUrl = databases.adminUrl(app.name)
  return {
    expected: await readDeclaredSnapshot({ adminUrl, folder, roles: databaseRoles(database) }),
    pending,
  }
}

/** Prints the policies, grants and switches of an app's tables as JSON, to be kept beside the code. */
export async function rlsSnapshot(name: string, options: CommonOptions): Promise<void> {
  const { readPolicySnapshot } = await import('@quintet/rls/catalogue')
  const [result] = await eachApp(name, options, hasDatabase, async (app, databases) => ({
    snapshot: await withClient(databases.adminUrl(app.name), (client) => readPolicySnapshot(client)),
  }))
  process.stdout.write(`${JSON.stringify(result?.snapshot, null, 2)}\n`)
}

/** Compares the database of an app with a snapshot. Exit code 1 when more may be seen or done than before. */
export async function rlsDiff(name: string, file: string, options: CommonOptions): Promise<void> {
  const { diffPolicies, formatPolicyDiff, readPolicySnapshot } = await import('@quintet/rls/catalogue')
  const before = JSON.parse(await readFile(resolve(file), 'utf8')) as PolicySnapshot
  const results = await eachApp(name, options, hasDatabase, async (app, databases, database) => {
    const after = await withClient(databases.adminUrl(app.name), (client) => readPolicySnapshot(client))
    return {
      changes: diffPolicies(before, after, { trustedRoles: [`${database}_owner`, `${database}_system`] }),
    }
  })
  if (results.some((each) => each.changes.some((change) => change.class === 'dangerous')))
    process.exitCode = 1
  print(options, results, (all) => all.map((each) => formatPolicyDiff(each.changes)).join('\n'))
}

/** Writes every row of an app's database to a file, or puts them back. */
export async function database(
  action: 'backup' | 'restore',
  name: string,
  file: string,
  options: CommonOptions & { readonly force?: boolean },
): Promise<void> {
  const { backupDatabase, restoreDatabase } = await import('@quintet/rls/data')
  const results = await eachApp(name, options, hasDatabase, async (app, databases, databaseOfApp) => {
    const url = databases.adminUrl(app.name)
    if (action === 'backup') return backupDatabase({ url, file: resolve(file) })
    await refuseWhileServing('db restore', app.name, options, servingFrom(databases, app, databaseOfApp))
    return restoreDatabase({ url, file: resolve(file) })
  })
  print(options, results, (all) =>
    all
      .map(
        (each) =>
          `${each.app}: ${each.tables.length} tables, ${each.tables.reduce((sum, { rows }) => sum + rows, 0)} rows`,
      )
      .join('\n'),
  )
}
