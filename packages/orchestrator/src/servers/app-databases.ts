import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { badCommand, OrchestratorError } from '../errors.ts'
import { countHeld, supervisorGone } from '../holder/count-held.ts'
import { databaseName } from '../plan/database-name.ts'
import type { Plan } from '../plan/plan.ts'
import { claimFolder } from '../state/folder-identity.ts'
import { readLock, takeLock } from '../state/lock.ts'
import { openSecrets, type Secrets } from '../state/secrets.ts'
import { prepareStateDirectory, type StateDirectory } from '../state/state-directory.ts'
import type { EcosystemEvent } from '../running/ecosystem-events.ts'
import { provisionInProcess, type DatabaseUrls } from './provision.ts'
import { startServers } from './servers.ts'

/** The databases of the apps that require one, for as long as a command works on them. Opening them changes nothing. */
export interface AppDatabases extends AsyncDisposable {
  /**
   * The logins of an app.
   *
   * @throws OrchestratorError `ERR_ORCHESTRATOR_PROVISION_FAILED` when this data folder knows none.
   */
  urls(app: string): DatabaseUrls
  /** The administrator's way into the database of an app. */
  adminUrl(app: string): string
  /** The data folder, where its ecosystem runs. */
  readonly supervised: string | undefined
  /** Makes the databases and logins of the apps named. */
  provision(
    apps: readonly string[],
    options?: ProvisionAppsOptions,
  ): Promise<Readonly<Record<string, DatabaseUrls>>>
}

export interface ProvisionAppsOptions {
  /** New passwords for all logins. @defaultValue false */
  readonly rotate?: boolean
}

const logins = ['owner', 'login', 'system'] as const

type Passwords = Readonly<Record<(typeof logins)[number], string>>

/**
 * Makes sure that the databases and logins of apps are there. A login that exists is not altered, but for a rotation:
 * its passwords are written down first, and one that was begun and not ended is ended the next time.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_PROVISION_FAILED`, e.g. when logins exist with other passwords than
 *   this data folder keeps.
 */
export async function provisionApps(
  plan: Plan,
  adminUrl: string,
  secrets: Secrets,
  { rotate = false, apps }: ProvisionAppsOptions & { readonly apps?: readonly string[] } = {},
): Promise<Readonly<Record<string, DatabaseUrls>>> {
  const wanted = plan.apps
    .filter((app) => app.requires.postgres && (apps?.includes(app.name) ?? true))
    .map(({ name }) => name)
  if (rotate) secrets.replace(Object.fromEntries(wanted.flatMap((app) => pendingPasswords(app))))
  const databases = wanted.map((app) => ({
    app,
    name: databaseName(plan, app),
    subject: `${plan.project}/${app}`,
    rotate: isRotating(app, secrets),
    passwords: mapLogins(
      (login) => secrets.find(pendingName(app, login)) ?? secrets.get(secretName(app, login)),
    ),
  }))
  const urls = await provisionInProcess({ adminUrl, databases })
  const rotated = databases.filter((each) => each.rotate)
  if (rotated.length > 0) {
    secrets.replace(
      Object.fromEntries(
        rotated.flatMap(({ app, passwords }) =>
          logins.flatMap((login) => [
            [secretName(app, login), passwords[login]],
            [pendingName(app, login), undefined],
          ]),
        ),
      ),
    )
  }
  return urls
}

/** New passwords of an app, as they are kept until its logins have them. */
function pendingPasswords(app: string): [string, string][] {
  return logins.map((login) => [pendingName(app, login), randomBytes(32).toString('base64url')])
}

/** It is not known which passwords the logins of an app have: a rotation was begun and has not ended. */
function isRotating(app: string, secrets: Secrets): boolean {
  return logins.some((login) => secrets.find(pendingName(app, login)) !== undefined)
}

function pendingName(app: string, login: string): string {
  return `next-database:${app}:${login}`
}

/** What to say when an app starts on an empty database while that of one that is gone lies unused: it was renamed. */
export function describeUnusedDatabases(plan: Plan, secrets: Secrets): string | undefined {
  const kept = secrets.names.flatMap((name) => /^database:(.+):owner$/.exec(name)?.[1] ?? [])
  const unused = kept.filter((app) => !plan.apps.some((each) => each.name === app))
  const fresh = plan.apps
    .filter((app) => app.requires.postgres && !hasLogins(app.name, secrets))
    .map((app) => app.name)
  if (unused.length === 0 || fresh.length === 0) return undefined
  const list = (names: readonly string[]): string => names.map((name) => `"${name}"`).join(', ')
  return `Attention: ${list(fresh)} starts on a new, empty database, and the database of ${list(unused)}, which is no app any more, lies unused. If it was renamed: stop, give it its old name, or carry the rows over with "quintet db backup" and "quintet db restore".`
}

/** Whether the data folder keeps the logins of an app. */
function hasLogins(app: string, secrets: Secrets): boolean {
  return logins.every((login) => secrets.find(secretName(app, login)) !== undefined)
}

/**
 * Opens the databases for a command: those of the running ecosystem, or of a PostgreSQL that is started for the
 * command and stopped after it.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_NOT_RUNNING` where apps and servers go on without their supervisor.
 */
export async function openAppDatabases(
  plan: Plan,
  state: StateDirectory,
  onEvent: (event: EcosystemEvent) => void,
): Promise<AppDatabases> {
  if (plan.postgres === false || !plan.apps.some((app) => app.requires.postgres)) {
    throw badCommand(`No app of "${plan.project}" has a database (requires: { postgres: true }).`)
  }
  prepareStateDirectory(state)
  const secrets = openSecrets(state.secretsFile)
  await using made = new AsyncDisposableStack()
  const isRunning = (await readLock(state.root)) !== undefined
  const external = plan.postgres.url ?? process.env['DATABASE_URL']
  let administrator: string
  if (isRunning) administrator = external ?? runningServer(state, secrets)
  else {
    made.use(await takeLock(state.root, state.run))
    // A server of the command's own would take the place of the one that their apps work with.
    const held = countHeld(state.journalFile)
    if (held > 0) throw supervisorGone(held)
    claimFolder(state, plan, secrets)
    const withoutRedis: Plan = { ...plan, redis: false }
    const servers = await startServers({
      plan: withoutRedis,
      state,
      secrets,
      env: process.env,
      onEvent,
      onLost: () => undefined,
    })
    made.defer(() => servers.stop())
    administrator = servers.url('postgres') ?? ''
  }
  const resources = made.move()
  return {
    urls(app) {
      assertKnown(plan, app, secrets, state)
      if (isRotating(app, secrets)) throw notRotated(app)
      const passwords = mapLogins((login) => secrets.find(secretName(app, login)) ?? '')
      return loginUrls(administrator, databaseName(plan, app), passwords)
    },
    adminUrl: (app) => urlOf(administrator, databaseName(plan, app)),
    supervised: isRunning ? state.root : undefined,
    provision(apps, { rotate = false } = {}) {
      if (rotate && isRunning) {
        throw new OrchestratorError(
          'The ecosystem is running, and its apps would lose their databases. Stop it first: quintet down.',
          { code: 'ERR_ORCHESTRATOR_ALREADY_RUNNING', kind: 'conflict' },
        )
      }
      return provisionApps(plan, administrator, secrets, { rotate, apps })
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}

/** Whether a start has been here before; asking changes nothing. */
export function assertProvisioned(plan: Plan, app: string, state: StateDirectory): void {
  if (!existsSync(state.secretsFile)) throw notProvisioned(plan, app, state)
  assertKnown(plan, app, openSecrets(state.secretsFile), state)
}

function assertKnown(plan: Plan, app: string, secrets: Secrets, state: StateDirectory): void {
  if (!hasLogins(app, secrets)) throw notProvisioned(plan, app, state)
}

function notProvisioned(plan: Plan, app: string, state: StateDirectory): OrchestratorError {
  return new OrchestratorError(
    `The data folder ${state.root} keeps no logins for the database ${databaseName(plan, app)} of "${app}". "quintet db provision ${app}" makes database and logins where there are none; for a database that was made elsewhere name the right folder with --data, or its owner with --owner-url.`,
    { code: 'ERR_ORCHESTRATOR_PROVISION_FAILED', kind: 'unavailable' },
  )
}

function notRotated(app: string): OrchestratorError {
  return new OrchestratorError(
    `The logins of "${app}" were being given new passwords, and that has not ended: "quintet db provision ${app}" ends it.`,
    { code: 'ERR_ORCHESTRATOR_PROVISION_FAILED', kind: 'unavailable' },
  )
}

function secretName(app: string, login: string): string {
  return `database:${app}:${login}`
}

function mapLogins(value: (login: (typeof logins)[number]) => string): Passwords {
  return { owner: value('owner'), login: value('login'), system: value('system') }
}

function loginUrls(administrator: string, name: string, passwords: Passwords): DatabaseUrls {
  const url = (login: (typeof logins)[number]): string =>
    urlOf(administrator, name, `${name}_${login}`, passwords[login])
  return { ownerUrl: url('owner'), url: url('login'), systemUrl: url('system') }
}

function urlOf(administrator: string, database: string, user?: string, password = ''): string {
  const url = new URL(administrator)
  url.pathname = `/${database}`
  if (user === undefined) return url.href
  // The driver lets the query win over what stands before the host.
  url.searchParams.delete('user')
  url.searchParams.delete('password')
  if (url.host === '') {
    url.searchParams.set('user', user)
    url.searchParams.set('password', password)
    return url.href
  }
  url.username = user
  url.password = encodeURIComponent(password)
  return url.href
}

/** The private server of the ecosystem that runs, as it left its password and its port. */
function runningServer(state: StateDirectory, secrets: Secrets): string {
  const { user, password } = JSON.parse(readFileSync(join(state.postgres, 'superuser.json'), 'utf8')) as {
    user: string
    password: string
  }
  return `postgres://${user}:${password}@127.0.0.1:${secrets.number('postgres.port') ?? 0}/postgres`
}
