import type { ConfigSource } from '../config/source.ts'
import { logLevels, type Logger } from '../logging/logger.ts'
import { parseDuration } from '../options/duration.ts'
import { nearestKey } from '../options/known-keys.ts'
import { option } from '../options/options.ts'
import type { ResolvedOptions } from '../options/option-spec.ts'
import { readOptions, type NoteProblem } from '../options/read-options.ts'
import { schemaOption } from '../options/schema-option.ts'
import { show } from '../options/show.ts'
import { loggerSpec } from '../pino/logger-spec.ts'
import { pipelineDefaults } from '../pipeline/pipeline.ts'
import { settingsDefaults } from '../settings/options.ts'
import { createSettingValues } from '../settings/setting-values.ts'
import type { Transport } from '../transport/transport.ts'
import { brandDefinition, isDefinition } from './definition-brand.ts'
import { hooksOption } from './hooks-option.ts'
import { environmentOption, namesOption } from './shared-options.ts'
import type { ProcessEntry, ResolvedProbe, System, SystemOptions } from './system.ts'

/** What applies where {@link SystemOptions} says nothing. */
export const systemDefaults = {
  process: { critical: false, instances: 1, startupTimeout: '30s', ...pipelineDefaults },
  health: { interval: '8s', timeout: '3s', retries: 3 },
  shutdown: { propagationDelay: 0, timeout: '10s', priority: 0, drainConnections: true },
  dev: { logLevel: 'debug', sourceMaps: true },
} as const

const loggerOption = option.either(
  option.collaborator<Logger>(['error', 'child'], 'a logger'),
  option.nested(loggerSpec),
)

/** How often and how patiently a process is probed; whether it says so itself decides over those of the ecosystem. */
const probe = option
  .nested({
    interval: option.delay(undefined, { min: 1 }).optional(),
    timeout: option.delay(undefined, { min: 1 }).optional(),
    retries: option.count(systemDefaults.health.retries, { min: 1 }),
  })
  .map((given, path): ResolvedProbe => {
    const interval = given.interval ?? parseDuration(systemDefaults.health.interval)
    const timeout = given.timeout ?? parseDuration(systemDefaults.health.timeout)
    if (timeout > interval) {
      throw new TypeError(
        `${path}: the timeout (${timeout} ms) is longer than the interval (${interval} ms), so probes would overlap.`,
      )
    }
    const isTimed = given.interval !== undefined || given.timeout !== undefined
    return Object.freeze({ interval, timeout, retries: given.retries, isTimed })
  })

const defaults = systemDefaults.process
const processSpec = {
  name: option.name(),
  module: option.either(option.text(), option.function<Extract<ProcessEntry['module'], () => unknown>>()),
  critical: option.boolean(defaults.critical),
  instances: option.count(defaults.instances, { min: 1 }),
  transports: option.record(
    option.collaborator<Transport>(
      ['start'],
      'a transport, such as http({ port: 3000 }) of @quintet/server makes',
    ),
    { key: option.name() },
  ),
  topology: option.nested({ expose: option.boolean(false), access: namesOption }),
  health: probe.orFalse(),
  eager: namesOption,
  startupTimeout: option.delay(defaults.startupTimeout, { min: 1 }),
  maxConcurrentCalls: option.count(defaults.maxConcurrentCalls, { min: 1 }),
  env: environmentOption,
  hooks: hooksOption(),
}

const systemSpec = {
  name: option.name(),
  version: option.text(),
  config: option
    .nested({
      schema: schemaOption(),
      sources: option.list(
        option.collaborator<ConfigSource>(['read'], 'a source. Use file(), env() or overrides()'),
      ),
    })
    .optional(),
  setup: option.function().optional(),
  settings: option
    .nested({ schema: schemaOption(), namespace: option.name(settingsDefaults.namespace) })
    .map((settings, path) => {
      createSettingValues(settings.schema, `${path}.schema`)
      return settings
    })
    .optional(),
  logger: loggerOption.optional(),
  auth: option.function().optional(),
  wrappers: option.function().optional(),
  processes: option.list(option.nested(processSpec), { min: 1, unique: ({ name }) => name }),
  hooks: hooksOption(),
  shutdown: option.nested({
    propagationDelay: option.delay(systemDefaults.shutdown.propagationDelay),
    timeout: option.delay(systemDefaults.shutdown.timeout, { min: 1 }),
    priority: option.count(systemDefaults.shutdown.priority, { min: Number.MIN_SAFE_INTEGER }),
    drainConnections: option.boolean(systemDefaults.shutdown.drainConnections),
  }),
  dev: option.nested({
    logLevel: option.oneOf(logLevels, systemDefaults.dev.logLevel),
    sourceMaps: option.boolean(systemDefaults.dev.sourceMaps),
  }),
  env: environmentOption,
  requires: option.nested({
    postgres: option.boolean(false),
    redis: option.boolean(false),
    migrations: option.text().optional(),
    secrets: option.list(option.name(), { unique: (name) => name }),
  }),
}

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
  const system = readOptions<SystemOptions<Config, Services>, typeof systemSpec>(options, systemSpec, '', {
    title: `The system ${show(options.name)} is not valid`,
    check(read, note) {
      for (const process of read.processes) checkAccess(process, read.processes, note)
      checkPorts(read.processes, note)
      if (read.requires.migrations !== undefined && !read.requires.postgres) {
        note('requires', 'names migrations but no database to run them on. Add postgres: true.')
      }
    },
  })
  // The functions were typed with the options, of which the spec knows only that they are functions.
  return Object.freeze(brandDefinition('system', { ...system } as unknown as System<Config, Services>))
}

/** Recognises what {@link defineSystem} returns, e.g. the default export of a module. */
export function isSystem(value: unknown): value is System {
  return isDefinition('system', value)
}

type ReadProcess = ResolvedOptions<typeof processSpec>

function checkPorts(processes: readonly ReadProcess[], note: NoteProblem): void {
  const taken = new Map<number, string>()
  for (const { name, transports } of processes) {
    for (const [key, { port }] of Object.entries(transports)) {
      if (port === undefined || port === 0) continue
      const owner = `the transport "${key}" of "${name}"`
      const other = taken.get(port)
      if (other !== undefined) note('processes', `${other} and ${owner} both take port ${port}.`)
      taken.set(port, owner)
    }
  }
}

function checkAccess(
  { name, topology }: ReadProcess,
  processes: readonly ReadProcess[],
  note: NoteProblem,
): void {
  for (const sibling of topology.access) {
    const problem = accessProblem(name, sibling, processes)
    if (problem !== undefined) note('processes', `"${name}" ${problem}`)
  }
}

function accessProblem(name: string, sibling: string, processes: readonly ReadProcess[]): string | undefined {
  if (sibling === name) return 'names itself in topology.access. A process calls itself without a link.'
  const named = `has topology.access to "${sibling}", which`
  const found = processes.find((process) => process.name === sibling)
  if (found === undefined) {
    const nearest = nearestKey(
      sibling,
      processes.map((process) => process.name),
    )
    return `${named} is no process of this system.${nearest ? ` Did you mean "${nearest}"?` : ''}`
  }
  if (found.topology.expose) return undefined
  return `${named} does not expose anything. Give "${sibling}" topology: { expose: true }.`
}
