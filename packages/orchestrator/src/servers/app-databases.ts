import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { OrchestratorError } from '../errors.ts'
import type { Plan } from '../plan/plan.ts'
import { readLock, takeLock } from '../state/lock.ts'
import { openSecrets, type Secrets } from '../state/secrets.ts'
import { prepareStateDirectory, type StateDirectory } from '../state/state-directory.ts'
import type { EcosystemEvent } from '../supervisor/events.ts'
import { provisionInProcess, type DatabaseUrls } from './provision.ts'
import { startServers } from './servers.ts'

/** The databases of the apps that require one, for as long as a command works on them. */
export interface AppDatabases extends AsyncDisposable {
  readonly urls: Readonly<Record<string, DatabaseUrls>>
  /** The administrator's way into the database of an app. */
  adminUrl(app: string): string
}

/** The database of an app; its roles are named after it. */
export function databaseName(plan: Plan, app: string): string {
  return `${plan.project}_${app}`.replaceAll('-', '_')
}

/** Makes sure that the databases and logins of all apps are there. */
export function provisionApps(
  plan: Plan,
  adminUrl: string,
  secrets: Secrets,
): Promise<Readonly<Record<string, DatabaseUrls>>> {
  const databases = plan.apps
    .filter((app) => app.requires.postgres)
    .map(({ name }) => ({
      app: name,
      name: databaseName(plan, name),
      passwords: {
        owner: secrets.get(`database:${name}:owner`),
        login: secrets.get(`database:${name}:login`),
        system: secrets.get(`database:${name}:system`),
      },
    }))
  return provisionInProcess({ adminUrl, databases })
}

/**
 * Opens the databases for a command: those of the running ecosystem, or of a PostgreSQL that is started for the
 * command and stopped after it.
 */
export async function openAppDatabases(
  plan: Plan,
  state: StateDirectory,
  onEvent: (event: EcosystemEvent) => void,
): Promise<AppDatabases> {
  if (plan.postgres === false || !plan.apps.some((app) => app.requires.postgres)) {
    throw new OrchestratorError(
      `No app of "${plan.project}" has a database (requires: { postgres: true }).`,
      {
        code: 'ERR_ORCHESTRATOR_BAD_COMMAND',
        kind: 'invalid-input',
      },
    )
  }
  prepareStateDirectory(state)
  const secrets = openSecrets(state.secretsFile)
  await using made = new AsyncDisposableStack()
  let server: string | null
  if (await readLock(state.root)) {
    server = plan.postgres.url ?? process.env['DATABASE_URL'] ?? runningServer(state, secrets)
  } else {
    made.use(await takeLock(state.root, state.run))
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
    server = servers.url('postgres')
  }
  const administrator = server ?? ''
  const urls = await provisionApps(plan, administrator, secrets)
  const resources = made.move()
  return {
    urls,
    adminUrl(app) {
      const url = new URL(administrator)
      url.pathname = `/${databaseName(plan, app)}`
      return url.href
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  }
}

/** The private server of the ecosystem that runs, as it left its password and its port. */
function runningServer(state: StateDirectory, secrets: Secrets): string {
  const { user, password } = JSON.parse(readFileSync(join(state.postgres, 'superuser.json'), 'utf8')) as {
    user: string
    password: string
  }
  return `postgres://${user}:${password}@127.0.0.1:${secrets.number('postgres.port') ?? 0}/postgres`
}
