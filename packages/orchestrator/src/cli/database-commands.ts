import { createLogger } from '@quintet/core/logger'
import type { PolicySnapshot } from '@quintet/rls'
import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { OrchestratorError } from '../errors.ts'
import type { PlannedApp } from '../plan/plan.ts'
import { databaseName, openAppDatabases, type AppDatabases } from '../servers/app-databases.ts'
import { loadContext, print, type CommonOptions } from './context.ts'
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
  await using databases = await openAppDatabases(plan, state, (event) => {
    if (event.type === 'progress' && !options.json) process.stderr.write(`${event.message}\n`)
  })
  const results: (T & { readonly app: string })[] = []
  for (const app of apps)
    results.push({ ...(await run(app, databases, databaseName(plan, app.name))), app: app.name })
  return results
}

const hasMigrations = (app: PlannedApp): boolean => app.requires.migrations !== null
const hasDatabase = (app: PlannedApp): boolean => app.requires.postgres

/** Brings databases up to date, takes migrations back, or says what is pending. */
export async function migrate(
  action: 'up' | 'down' | 'status',
  name: string | undefined,
  options: CommonOptions & { readonly steps?: number },
): Promise<void> {
  const { createMigrator, formatMigrationStatus } = await import('@quintet/rls/migrations')
  if (action === 'down' && name === undefined) {
    throw new OrchestratorError('migrate down needs the name of an app: it takes back what may hold data.', {
      code: 'ERR_ORCHESTRATOR_BAD_COMMAND',
      kind: 'invalid-input',
    })
  }
  const logger = createLogger({ level: 'silent' })
  const results = await eachApp(name, options, hasMigrations, async (app, databases) => {
    const migrator = createMigrator({
      ownerUrl: databases.urls[app.name]?.ownerUrl ?? '',
      folder: app.requires.migrations ?? '',
      logger,
    })
    if (action === 'status') return { migrations: await migrator.status() }
    return { done: action === 'up' ? await migrator.up() : await migrator.down(options.steps) }
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

/** Looks for holes in the row-level security of each database. Exit code 1 when there is an error. */
export async function rlsLint(name: string | undefined, options: CommonOptions): Promise<void> {
  const { lintCatalogue, formatLint } = await import('@quintet/rls')
  const results = await eachApp(name, options, hasDatabase, async (app, databases, database) => ({
    findings: await withClient(databases.adminUrl(app.name), (client) =>
      lintCatalogue(client, { tenantRoles: [`${database}_tenant`, `${database}_login`] }),
    ),
  }))
  if (results.some((each) => each.findings.some((finding) => finding.severity === 'error')))
    process.exitCode = 1
  print(options, results, (all) => all.map((each) => `${each.app}\n${formatLint(each.findings)}`).join('\n'))
}

/** Prints the policies, grants and switches of an app's tables as JSON, to be kept beside the code. */
export async function rlsSnapshot(name: string, options: CommonOptions): Promise<void> {
  const { readPolicySnapshot } = await import('@quintet/rls')
  const [result] = await eachApp(name, options, hasDatabase, async (app, databases) => ({
    snapshot: await withClient(databases.adminUrl(app.name), (client) => readPolicySnapshot(client)),
  }))
  process.stdout.write(`${JSON.stringify(result?.snapshot, null, 2)}\n`)
}

/** Compares the database of an app with a snapshot. Exit code 1 when somebody may see or do more than before. */
export async function rlsDiff(name: string, file: string, options: CommonOptions): Promise<void> {
  const { diffPolicies, formatPolicyDiff, readPolicySnapshot } = await import('@quintet/rls')
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
  options: CommonOptions,
): Promise<void> {
  const { backupDatabase, restoreDatabase } = await import('@quintet/rls')
  const results = await eachApp(name, options, hasDatabase, (app, databases) =>
    (action === 'backup' ? backupDatabase : restoreDatabase)({
      url: databases.adminUrl(app.name),
      file: resolve(file),
    }),
  )
  print(options, results, (all) =>
    all
      .map(
        (each) =>
          `${each.app}: ${each.tables.length} tables, ${each.tables.reduce((sum, { rows }) => sum + rows, 0)} rows`,
      )
      .join('\n'),
  )
}

type Client = import('pg').Client

async function withClient<T>(url: string, use: (client: Client) => Promise<T>): Promise<T> {
  const { Client } = await import('pg')
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return await use(client)
  } finally {
    await client.end()
  }
}
