import { deepFreeze } from '../definition/deep-freeze.ts'
import { brandDefinition, isDefinition } from '../definition/definition-brand.ts'
import { DefinitionCheck } from './definition-check.ts'
import { dependencyProblems, sortByDependencies } from './dependency-order.ts'
import type {
  Ecosystem,
  EcosystemApp,
  EcosystemOptions,
  EcosystemServer,
  EcosystemService,
  RestartStrategy,
  SupervisorLossPolicy,
} from './ecosystem.ts'
import type { LogLevel } from '../logging/logger.ts'

/** What applies where {@link EcosystemOptions} says nothing. */
export const ecosystemDefaults = {
  supervision: {
    strategy: 'one_for_one',
    maxRestarts: 5,
    window: '60s',
    backoff: { type: 'exponential', initial: '1s', max: '30s', factor: 2 },
  },
  monitoring: {
    healthCheck: { interval: '8s', timeout: '3s' },
    metrics: { interval: '5s', retention: '1h' },
  },
  logging: { level: 'info', maxSize: '50mb', maxFiles: 10, compress: true },
} as const

const strategies: readonly RestartStrategy[] = ['one_for_one', 'one_for_all', 'rest_for_one']
const lossPolicies: readonly SupervisorLossPolicy[] = ['keep', 'stop']
const levels: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/**
 * Validates an ecosystem and fills in every default; what it returns is frozen and survives JSON.
 *
 * @throws TypeError naming every problem at once: unknown keys with what was probably meant, values of the wrong
 *   form, and contradictions.
 */
export function defineEcosystem(options: EcosystemOptions): Ecosystem {
  const check = new DefinitionCheck()
  const top = check.object(
    options,
    ['project', 'apps', 'infrastructure', 'supervision', 'monitoring', 'logging'],
    'ecosystem',
  )
  const ecosystem: Ecosystem = {
    project: check.name(top['project'], 'project'),
    apps: readApps(check, top['apps']),
    infrastructure: readInfrastructure(check, top['infrastructure']),
    supervision: readSupervision(check, top['supervision']),
    monitoring: readMonitoring(check, top['monitoring']),
    logging: readLogging(check, top['logging']),
  }
  check.assertSound('The ecosystem')
  return deepFreeze(
    brandDefinition('ecosystem', { ...ecosystem, apps: [...sortByDependencies(ecosystem.apps)] }),
  )
}

/** Recognises what {@link defineEcosystem} returns, e.g. the default export of a module. */
export function isEcosystem(value: unknown): value is Ecosystem {
  return isDefinition('ecosystem', value)
}

const appKeys = ['name', 'bootstrap', 'critical', 'dependsOn', 'startupTimeout', 'watch', 'enabled', 'env']

function readApps(check: DefinitionCheck, value: unknown): readonly EcosystemApp[] {
  const apps = check.list(value, 'apps').map((item, index) => readApp(check, item, `apps[${index}]`))
  if (apps.length === 0) check.note('apps', 'an ecosystem needs at least one app.')
  const names = apps.map((app) => app.name)
  for (const name of new Set(names.filter((each, index) => names.indexOf(each) !== index))) {
    check.note('apps', `there are two apps named "${name}".`)
  }
  for (const problem of dependencyProblems(apps)) check.note('apps', problem)
  const off = new Set(apps.filter((app) => !app.enabled).map((app) => app.name))
  for (const app of apps) {
    const missing = app.enabled ? app.dependsOn.find((name) => off.has(name)) : undefined
    if (missing !== undefined) {
      check.note(
        'apps',
        `"${app.name}" depends on "${missing}", which has enabled: false, so it could never start.`,
      )
    }
  }
  return apps
}

function readApp(check: DefinitionCheck, value: unknown, path: string): EcosystemApp {
  const entry = check.object(value, appKeys, path)
  const watch =
    entry['watch'] === undefined
      ? null
      : check.object(entry['watch'], ['directory', 'ignore'], `${path}.watch`)
  const { startupTimeout } = entry
  return {
    name: check.name(entry['name'], `${path}.name`),
    bootstrap: check.text(entry['bootstrap'], `${path}.bootstrap`),
    critical: check.boolean(entry['critical'], false, `${path}.critical`),
    dependsOn: check.names(entry['dependsOn'], `${path}.dependsOn`),
    startupTimeout:
      startupTimeout === undefined ? null : check.span(startupTimeout, 0, `${path}.startupTimeout`),
    watch: watch && {
      directory: check.text(watch['directory'], `${path}.watch.directory`),
      ignore: check.names(watch['ignore'], `${path}.watch.ignore`),
    },
    enabled: check.boolean(entry['enabled'], true, `${path}.enabled`),
    env: check.env(entry['env'], `${path}.env`),
  }
}

function readInfrastructure(check: DefinitionCheck, value: unknown): Ecosystem['infrastructure'] {
  const entry = check.object(value, ['postgres', 'redis', 'services'], 'infrastructure')
  const services = Object.entries(check.record(entry['services'], 'infrastructure.services'))
  return {
    postgres: readServer(check, entry['postgres'], ['postgres:', 'postgresql:'], 'infrastructure.postgres'),
    redis: readServer(check, entry['redis'], ['redis:', 'rediss:'], 'infrastructure.redis'),
    services: Object.fromEntries(
      services.map(([name, service]) => {
        const path = `infrastructure.services.${name}`
        return [check.name(name, path), readService(check, service, path)]
      }),
    ),
  }
}

function readServer(
  check: DefinitionCheck,
  value: unknown,
  protocols: readonly string[],
  path: string,
): false | EcosystemServer {
  if (value === false) return false
  const entry = check.object(value, ['url', 'port'], path)
  const { url, port } = entry
  if (url !== undefined && port !== undefined) {
    check.note(
      path,
      'has both url and port. The port is that of a private server; with a url none is started.',
    )
  }
  if (url !== undefined && !(typeof url === 'string' && protocols.includes(URL.parse(url)?.protocol ?? ''))) {
    check.note(`${path}.url`, `must be a URL that starts with ${protocols.join(' or ')}//.`)
  }
  return {
    url: typeof url === 'string' ? url : null,
    port: port === undefined ? null : readPort(check, port, `${path}.port`),
  }
}

function readService(check: DefinitionCheck, value: unknown, path: string): EcosystemService {
  const entry = check.object(value, ['preset', 'ports', 'config', 'env'], path)
  const ports = Object.entries(check.record(entry['ports'], `${path}.ports`))
  const config = Object.entries(check.record(entry['config'], `${path}.config`))
  return {
    preset: check.text(entry['preset'], `${path}.preset`),
    ports: Object.fromEntries(
      ports.map(([name, port]) => [name, readPort(check, port, `${path}.ports.${name}`)]),
    ),
    config: Object.fromEntries(config.map(([key, item]) => [key, check.json(item, `${path}.config.${key}`)])),
    env: check.env(entry['env'], `${path}.env`),
  }
}

function readPort(check: DefinitionCheck, value: unknown, path: string): number {
  const port = check.integer(value, 0, 0, path)
  if (port > 65_535) check.note(path, `${port} is not a port; the highest is 65535.`)
  return port
}

function readSupervision(check: DefinitionCheck, value: unknown): Ecosystem['supervision'] {
  const defaults = ecosystemDefaults.supervision
  const path = 'supervision'
  const entry = check.object(
    value,
    ['strategy', 'maxRestarts', 'window', 'backoff', 'onSupervisorLoss'],
    path,
  )
  const backoff = check.object(entry['backoff'], ['type', 'initial', 'max', 'factor'], `${path}.backoff`)
  const resolved = {
    strategy: check.oneOf(entry['strategy'], defaults.strategy, strategies, `${path}.strategy`),
    maxRestarts: check.integer(entry['maxRestarts'], defaults.maxRestarts, 0, `${path}.maxRestarts`),
    window: check.span(entry['window'], defaults.window, `${path}.window`),
    onSupervisorLoss:
      entry['onSupervisorLoss'] === undefined
        ? null
        : check.oneOf(entry['onSupervisorLoss'], 'stop', lossPolicies, `${path}.onSupervisorLoss`),
    backoff: {
      type: check.oneOf(
        backoff['type'],
        defaults.backoff.type,
        ['exponential', 'fixed'],
        `${path}.backoff.type`,
      ),
      initial: check.delay(backoff['initial'], defaults.backoff.initial, `${path}.backoff.initial`),
      max: check.delay(backoff['max'], defaults.backoff.max, `${path}.backoff.max`),
      factor: readFactor(check, backoff['factor'], `${path}.backoff.factor`),
    },
  }
  const { type, initial, max } = resolved.backoff
  if (type === 'fixed' && backoff['factor'] !== undefined) {
    check.note(`${path}.backoff`, "has a factor, but type 'fixed' always waits the same time.")
  }
  if (initial > max) check.note(`${path}.backoff`, `initial (${initial} ms) is longer than max (${max} ms).`)
  if (entry['window'] !== undefined && resolved.window === 0)
    check.note(`${path}.window`, 'must be longer than 0.')
  return resolved
}

function readFactor(check: DefinitionCheck, value: unknown, path: string): number {
  const factor = value ?? ecosystemDefaults.supervision.backoff.factor
  if (typeof factor === 'number' && Number.isFinite(factor) && factor >= 1) return factor
  check.note(path, 'must be a number of at least 1.')
  return ecosystemDefaults.supervision.backoff.factor
}

/** Samples that are kept of one process; each takes 32 bytes of the supervisor's memory. */
const maxSamples = 100_000

function readMonitoring(check: DefinitionCheck, value: unknown): Ecosystem['monitoring'] {
  const defaults = ecosystemDefaults.monitoring
  const path = 'monitoring'
  const entry = check.object(value, ['healthCheck', 'metrics'], path)
  const health = check.object(entry['healthCheck'], ['interval', 'timeout'], `${path}.healthCheck`)
  const metrics = check.object(entry['metrics'], ['interval', 'retention'], `${path}.metrics`)
  const resolved = {
    healthCheck: {
      interval: check.span(health['interval'], defaults.healthCheck.interval, `${path}.healthCheck.interval`),
      timeout: check.span(health['timeout'], defaults.healthCheck.timeout, `${path}.healthCheck.timeout`),
    },
    metrics: {
      interval: check.span(metrics['interval'], defaults.metrics.interval, `${path}.metrics.interval`),
      retention: check.duration(
        metrics['retention'],
        defaults.metrics.retention,
        `${path}.metrics.retention`,
      ),
    },
  }
  const { healthCheck } = resolved
  if (healthCheck.timeout > healthCheck.interval) {
    check.note(
      `${path}.healthCheck`,
      `the timeout (${healthCheck.timeout} ms) is longer than the interval (${healthCheck.interval} ms), so probes would overlap.`,
    )
  }
  if (resolved.metrics.retention < resolved.metrics.interval) {
    check.note(
      `${path}.metrics`,
      `the retention (${resolved.metrics.retention} ms) is shorter than the interval (${resolved.metrics.interval} ms), so nothing would be kept. ` +
        "Numbers are milliseconds; write '1h' for an hour.",
    )
  }
  if (resolved.metrics.retention / resolved.metrics.interval > maxSamples) {
    check.note(
      `${path}.metrics`,
      `a retention of ${resolved.metrics.retention} ms at an interval of ${resolved.metrics.interval} ms keeps more than ${maxSamples} samples of each process in memory. Shorten the one or lengthen the other.`,
    )
  }
  return resolved
}

function readLogging(check: DefinitionCheck, value: unknown): Ecosystem['logging'] {
  const defaults = ecosystemDefaults.logging
  const entry = check.object(value, ['level', 'maxSize', 'maxFiles', 'compress'], 'logging')
  const maxSize = check.size(entry['maxSize'], defaults.maxSize, 'logging.maxSize')
  if (entry['maxSize'] === 0) check.note('logging.maxSize', 'must be more than 0 bytes.')
  return {
    level: check.oneOf(entry['level'], defaults.level, levels, 'logging.level'),
    maxSize,
    maxFiles: check.integer(entry['maxFiles'], defaults.maxFiles, 1, 'logging.maxFiles'),
    compress: check.boolean(entry['compress'], defaults.compress, 'logging.compress'),
  }
}
