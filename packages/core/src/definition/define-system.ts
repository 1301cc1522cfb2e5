import type { StandardSchemaV1 } from '@standard-schema/spec'
import { hookProblems } from './assert-hooks.ts'
import { pipelineDefaults } from '../pipeline/create-pipeline.ts'
import { brandDefinition, isDefinition } from './definition-brand.ts'
import { DefinitionCheck } from '../options/definition-check.ts'
import type { Hooks } from './hooks.ts'
import { nearestKey } from '../options/known-keys.ts'
import type { LogLevel } from '../logging/logger.ts'
import { settingsDefaults } from '../settings/options.ts'
import { createSettingValues } from '../settings/setting-values.ts'
import type { ProcessEntry, ResolvedProcess, System, SystemOptions } from './system.ts'
import type { Transport } from '../transport/transport.ts'

/** What applies where {@link SystemOptions} says nothing. */
export const systemDefaults = {
  process: { critical: false, instances: 1, startupTimeout: '30s', ...pipelineDefaults },
  health: { interval: '8s', timeout: '3s', retries: 3 },
  shutdown: { propagationDelay: 0, timeout: '10s', priority: 0, drainConnections: true },
  dev: { logLevel: 'debug', sourceMaps: true },
} as const

const systemKeys = [
  'name',
  'version',
  'config',
  'setup',
  'settings',
  'auth',
  'wrappers',
  'processes',
  'hooks',
  'shutdown',
  'dev',
  'env',
  'requires',
]
const processKeys = [
  'name',
  'module',
  'critical',
  'instances',
  'transports',
  'topology',
  'health',
  'eager',
  'startupTimeout',
  'maxConcurrentCalls',
  'env',
  'hooks',
]
const levels: readonly LogLevel[] = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent']

/**
 * Defines one app: its configuration, its services, who may come in, and the processes that it consists of.
 * The default export of a bootstrap file.
 *
 * @throws TypeError naming every problem at once: unknown keys with what was probably meant, values of the wrong
 *   form, and contradictions.
 */
export function defineSystem<Config = unknown, Services = unknown>(
  options: SystemOptions<Config, Services>,
): System<Config, Services> {
  if (typeof options !== 'object' || options === null) throw new TypeError('defineSystem: needs options.')
  const check = new DefinitionCheck()
  check.object(options, systemKeys, 'system')
  readConfig(check, options.config)
  for (const key of ['setup', 'auth', 'wrappers'] as const) {
    const value = options[key]
    if (value !== undefined && typeof value !== 'function') check.note(key, 'must be a function.')
  }
  const system: System<Config, Services> = {
    name: check.name(options.name, 'name'),
    version: check.text(options.version, 'version'),
    config: options.config,
    setup: options.setup,
    settings: readSettings(check, options.settings),
    auth: options.auth,
    wrappers: options.wrappers,
    processes: readProcesses(check, options.processes),
    hooks: readHooks(check, options.hooks, 'hooks'),
    shutdown: readShutdown(check, options.shutdown),
    dev: readDev(check, options.dev),
    env: check.env(options.env, 'env'),
    requires: readRequirements(check, options.requires),
  }
  check.assertSound(`The system ${JSON.stringify(system.name)}`)
  return Object.freeze(brandDefinition('system', system))
}

/** Recognises what {@link defineSystem} returns, e.g. the default export of a module. */
export function isSystem(value: unknown): value is System {
  return isDefinition('system', value)
}

function readConfig(check: DefinitionCheck, value: unknown): void {
  if (value === undefined) return
  const config = check.object(value, ['schema', 'sources'], 'config')
  checkSchema(check, config['schema'], 'config.schema')
  check.list(config['sources'], 'config.sources').forEach((source, index) => {
    const isSource = typeof source === 'object' && source !== null && 'read' in source && 'label' in source
    if (!isSource)
      check.note(`config.sources[${index}]`, 'is not a source. Use file(), env() or overrides().')
  })
}

function checkSchema(check: DefinitionCheck, value: unknown, path: string): value is StandardSchemaV1 {
  const isObject = (typeof value === 'object' && value !== null) || typeof value === 'function'
  if (isObject && '~standard' in value) return true
  check.note(path, 'must be a zod schema or another Standard Schema.')
  return false
}

function readSettings(check: DefinitionCheck, value: unknown): System['settings'] {
  if (value === undefined) return undefined
  const entry = check.object(value, ['schema', 'namespace'], 'settings')
  const namespace = check.name(entry['namespace'] ?? settingsDefaults.namespace, 'settings.namespace')
  const { schema } = entry
  if (!checkSchema(check, schema, 'settings.schema')) return undefined
  try {
    createSettingValues(schema, 'settings.schema')
  } catch (error) {
    if (!(error instanceof TypeError)) throw error
    check.problems.push(error.message)
  }
  return Object.freeze({ schema, namespace })
}

function readProcesses<Services>(
  check: DefinitionCheck,
  value: unknown,
): readonly ResolvedProcess<Services>[] {
  const entries = check.list(value, 'processes')
  if (entries.length === 0) check.note('processes', 'a system needs at least one process.')
  const processes = entries.map((entry, index) => readProcess<Services>(check, entry, `processes[${index}]`))
  const names = processes.map((process) => process.name)
  for (const name of new Set(names.filter((each, index) => names.indexOf(each) !== index))) {
    check.note('processes', `there are two processes named "${name}".`)
  }
  for (const { name, topology } of processes) {
    for (const sibling of topology.access) checkAccess(check, name, sibling, processes)
  }
  checkPorts(check, processes)
  return Object.freeze(processes)
}

function checkPorts(check: DefinitionCheck, processes: readonly ResolvedProcess<never>[]): void {
  const taken = new Map<number, string>()
  for (const { name, transports } of processes) {
    for (const [key, { port }] of Object.entries(transports)) {
      if (port === undefined || port === 0) continue
      const owner = `the transport "${key}" of "${name}"`
      const other = taken.get(port)
      if (other !== undefined) check.note('processes', `${other} and ${owner} both take port ${port}.`)
      taken.set(port, owner)
    }
  }
}

function checkAccess(
  check: DefinitionCheck,
  name: string,
  sibling: string,
  processes: readonly ResolvedProcess<never>[],
): void {
  const path = `processes: "${name}"`
  if (sibling === name)
    return check.note(path, 'names itself in topology.access. A process calls itself without a link.')
  const found = processes.find((process) => process.name === sibling)
  if (found === undefined) {
    const nearest = nearestKey(
      sibling,
      processes.map((process) => process.name),
    )
    check.note(
      path,
      `topology.access names "${sibling}", which is no process of this system.${nearest ? ` Did you mean "${nearest}"?` : ''}`,
    )
  } else if (!found.topology.expose) {
    check.note(
      path,
      `topology.access names "${sibling}", which does not expose anything. Give "${sibling}" topology: { expose: true }.`,
    )
  }
}

function readProcess<Services>(
  check: DefinitionCheck,
  value: unknown,
  path: string,
): ResolvedProcess<Services> {
  const defaults = systemDefaults.process
  const entry = check.object(value, processKeys, path)
  const topology = check.object(entry['topology'], ['expose', 'access'], `${path}.topology`)
  const { module } = entry
  if (typeof module !== 'function') check.text(module, `${path}.module`)
  return Object.freeze({
    name: check.name(entry['name'], `${path}.name`),
    module: module as ProcessEntry<Services>['module'],
    critical: check.boolean(entry['critical'], defaults.critical, `${path}.critical`),
    instances: check.integer(entry['instances'], defaults.instances, 1, `${path}.instances`),
    transports: readTransports(check, entry['transports'], `${path}.transports`),
    topology: Object.freeze({
      expose: check.boolean(topology['expose'], false, `${path}.topology.expose`),
      access: check.names(topology['access'], `${path}.topology.access`),
    }),
    health: readHealth(check, entry['health'], `${path}.health`),
    eager: Object.freeze(check.names(entry['eager'], `${path}.eager`)),
    startupTimeout: check.span(entry['startupTimeout'], defaults.startupTimeout, `${path}.startupTimeout`),
    maxConcurrentCalls: check.integer(
      entry['maxConcurrentCalls'],
      defaults.maxConcurrentCalls,
      1,
      `${path}.maxConcurrentCalls`,
    ),
    env: check.env(entry['env'], `${path}.env`),
    hooks: readHooks<Services>(check, entry['hooks'], `${path}.hooks`),
  })
}

function readTransports(
  check: DefinitionCheck,
  value: unknown,
  path: string,
): Readonly<Record<string, Transport>> {
  const entries = Object.entries(check.record(value, path)).filter(([key, transport]) => {
    check.name(key, `${path}.${key}`)
    const isTransport =
      typeof transport === 'object' && transport !== null && 'start' in transport && 'name' in transport
    if (!isTransport) {
      check.note(
        `${path}.${key}`,
        'is not a transport. Use what a package makes, e.g. http({ port: 3000 }) of @quintet/server.',
      )
    }
    return isTransport
  })
  return Object.freeze(Object.fromEntries(entries)) as Readonly<Record<string, Transport>>
}

function readHealth(check: DefinitionCheck, value: unknown, path: string): ResolvedProcess['health'] {
  if (value === false) return false
  const defaults = systemDefaults.health
  const entry = check.object(value, ['interval', 'timeout', 'retries'], path)
  const interval = check.span(entry['interval'], defaults.interval, `${path}.interval`)
  const timeout = check.span(entry['timeout'], defaults.timeout, `${path}.timeout`)
  if (timeout > interval) {
    check.note(
      path,
      `the timeout (${timeout} ms) is longer than the interval (${interval} ms), so probes would overlap.`,
    )
  }
  return Object.freeze({
    interval,
    timeout,
    retries: check.integer(entry['retries'], defaults.retries, 1, `${path}.retries`),
    isTimed: entry['interval'] !== undefined || entry['timeout'] !== undefined,
  })
}

function readShutdown(check: DefinitionCheck, value: unknown): System['shutdown'] {
  const defaults = systemDefaults.shutdown
  const entry = check.object(
    value,
    ['propagationDelay', 'timeout', 'priority', 'drainConnections'],
    'shutdown',
  )
  return Object.freeze({
    propagationDelay: check.delay(
      entry['propagationDelay'],
      defaults.propagationDelay,
      'shutdown.propagationDelay',
    ),
    timeout: check.span(entry['timeout'], defaults.timeout, 'shutdown.timeout'),
    priority: check.integer(
      entry['priority'],
      defaults.priority,
      Number.MIN_SAFE_INTEGER,
      'shutdown.priority',
    ),
    drainConnections: check.boolean(
      entry['drainConnections'],
      defaults.drainConnections,
      'shutdown.drainConnections',
    ),
  })
}

function readDev(check: DefinitionCheck, value: unknown): System['dev'] {
  const defaults = systemDefaults.dev
  const entry = check.object(value, ['logLevel', 'sourceMaps'], 'dev')
  return Object.freeze({
    logLevel: check.oneOf(entry['logLevel'], defaults.logLevel, levels, 'dev.logLevel'),
    sourceMaps: check.boolean(entry['sourceMaps'], defaults.sourceMaps, 'dev.sourceMaps'),
  })
}

function readRequirements(check: DefinitionCheck, value: unknown): System['requires'] {
  const entry = check.object(value, ['postgres', 'redis', 'migrations', 'secrets'], 'requires')
  const postgres = check.boolean(entry['postgres'], false, 'requires.postgres')
  const migrations =
    entry['migrations'] === undefined ? undefined : check.text(entry['migrations'], 'requires.migrations')
  if (migrations !== undefined && !postgres) {
    check.note('requires', 'names migrations but no database to run them on. Add postgres: true.')
  }
  const secrets = check.names(entry['secrets'], 'requires.secrets')
  for (const secret of secrets) check.name(secret, 'requires.secrets')
  return Object.freeze({
    postgres,
    redis: check.boolean(entry['redis'], false, 'requires.redis'),
    migrations,
    secrets: Object.freeze(secrets),
  })
}

function readHooks<Services>(check: DefinitionCheck, value: unknown, path: string): Hooks<Services> {
  check.problems.push(...hookProblems(value, path))
  return Object.freeze({ ...(value as Hooks<Services> | undefined) })
}
