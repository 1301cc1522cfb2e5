import { compileCache } from '../bin-path.ts'
import type { Environment } from '../infrastructure/environment.ts'
import { linkVariables } from '../control/messages.ts'
import type { Plan, PlannedApp, PlannedProcess } from '../plan/plan.ts'
import { gatewayVariables } from '../plan/gateway-variables.ts'
import { publicVariables } from '../plan/public-address.ts'
import { resolveUrls } from '../plan/url-references.ts'
import type { DatabaseUrls } from '../servers/provision.ts'
import type { Secrets } from '../state/secrets.ts'

export interface EnvironmentOptions {
  readonly plan: Plan
  /** Our own. */
  readonly env: Environment
  readonly dev: boolean
  readonly secrets: Secrets
  readonly databases: Readonly<Record<string, DatabaseUrls>>
  readonly redisUrl: string | null
  readonly linksDirectory: string
  /** The ports that were given out, by process and transport. */
  readonly ports: ReadonlyMap<string, Readonly<Record<string, number>>>
}

/**
 * What a process gets as its environment: what of ours is shared or starts with its prefix, then what the ecosystem
 * provides, then what the system and the ecosystem file set; later ones win.
 */
export function processEnvironment(
  planned: PlannedProcess,
  options: EnvironmentOptions,
): Record<string, string> {
  const app = options.plan.apps.find((each) => each.name === planned.app)
  return {
    ...inherited(options.env, app?.prefix ?? 'GATEWAY_'),
    ...(planned.isCommand ? {} : ownSettings(planned, options)),
    ...(app ? provided(app, planned, options) : gatewaySettings(planned, options)),
    ...resolveUrls(planned.env, (id, transport) => options.ports.get(id)?.[transport]),
  }
}

function ownSettings(
  { startupTimeout }: PlannedProcess,
  { env, dev, plan }: EnvironmentOptions,
): Record<string, string> {
  return {
    NODE_COMPILE_CACHE: compileCache(env),
    QUINTET_STARTUP_TIMEOUT: String(startupTimeout),
    ...(dev ? { QUINTET_DEV: '1' } : { QUINTET_LOG_LEVEL: plan.logging.level }),
  }
}

/** What every process gets of our environment: where programs, files and certificates are, language and proxies. */
const shared = new Set(
  'PATH HOME USER LOGNAME SHELL HOSTNAME LANG LANGUAGE TZ TMPDIR TERM COLORTERM NO_COLOR FORCE_COLOR NODE_ENV NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS NODE_USE_ENV_PROXY NODE_USE_SYSTEM_CA SSL_CERT_FILE SSL_CERT_DIR HTTP_PROXY HTTPS_PROXY NO_PROXY http_proxy https_proxy no_proxy LD_LIBRARY_PATH DYLD_LIBRARY_PATH'.split(
    ' ',
  ),
)
const sharedPrefixes = ['LC_', 'XDG_', 'OTEL_']

/** The rest of a shell holds secrets of other apps: a process gets what is shared and what starts with its own prefix. */
function inherited(env: Environment, own: string): Record<string, string> {
  const prefixes = [...sharedPrefixes, own]
  const entries = Object.entries(env).filter(
    ([name]) => shared.has(name) || prefixes.some((prefix) => name.startsWith(prefix)),
  )
  return Object.fromEntries(entries.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
}

function provided(
  app: PlannedApp,
  planned: PlannedProcess,
  options: EnvironmentOptions,
): Record<string, string> {
  const { prefix, requires } = app
  const database = options.databases[app.name]
  if (planned.kind === 'task') return database ? { QUINTET_OWNER_URL: database.ownerUrl } : {}
  const values: Record<string, string> = {
    // A program that is none of ours gets none of our keys.
    ...(planned.isCommand ? {} : ownKeys(app, options)),
    ...publicVariables(options.plan, app.name, (id, transport) => options.ports.get(id)?.[transport] ?? 0),
  }
  if (database) {
    values[`${prefix}DATABASE__URL`] = database.url
    values[`${prefix}DATABASE__SYSTEM_URL`] = database.systemUrl
  }
  if (requires.redis && options.redisUrl !== null) values[`${prefix}REDIS__URL`] = options.redisUrl
  for (const name of requires.secrets) {
    values[`${prefix}SECRETS__${name.toUpperCase().replaceAll('-', '_')}`] = options.secrets.get(
      `shared:${name}`,
    )
  }
  return values
}

function ownKeys(
  { name }: PlannedApp,
  { linksDirectory, secrets }: EnvironmentOptions,
): Record<string, string> {
  return {
    [linkVariables.directory]: linksDirectory,
    [linkVariables.secret]: secrets.get(`links:${name}`),
    QUINTET_OPERATOR_TOKEN: secrets.get('shared:operator-token'),
  }
}

function gatewaySettings(planned: PlannedProcess, options: EnvironmentOptions): Record<string, string> {
  const { gateway } = options.plan
  if (gateway?.processId !== planned.id) return {}
  return {
    ...gatewayVariables(gateway, (id, transport) => options.ports.get(id)?.[transport] ?? 0),
    GATEWAY_MAINTENANCE__TOKEN: maintenanceToken(options.plan, options.secrets),
    ...(options.redisUrl === null ? {} : { GATEWAY_REDIS__URL: options.redisUrl }),
  }
}

/** What operators send to pass the gateway during maintenance: what the ecosystem file says, else a random one. */
export function maintenanceToken({ gateway }: Plan, secrets: Secrets): string {
  const { token } = (gateway?.config['maintenance'] ?? {}) as { readonly token?: unknown }
  return typeof token === 'string' ? token : secrets.get('shared:maintenance-token')
}
