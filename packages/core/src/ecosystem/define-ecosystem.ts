import { deepFreeze } from '../definition/deep-freeze.ts'
import { brandDefinition, isDefinition } from '../definition/definition-brand.ts'
import { environmentOption, namesOption } from '../definition/shared-options.ts'
import { logLevels } from '../logging/logger.ts'
import { option } from '../options/options.ts'
import type { Option } from '../options/option.ts'
import { readOptions, type NoteProblem } from '../options/read-options.ts'
import { dependencyProblems, sortByDependencies } from './dependency-order.ts'
import type { Ecosystem, EcosystemApp, EcosystemCommand, EcosystemOptions } from './ecosystem.ts'

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

const { supervision, monitoring, logging } = ecosystemDefaults

/** Plain data has null where nothing was said. */
function orNull<Value>(given: Option<Value>): Option<Value | null> {
  return given.optional().map((value) => value ?? null)
}

const commandHealth = option.nested({
  http: orNull(option.text(undefined, { pattern: /^\/[!-~]*$/, expected: 'a path such as "/health"' })),
  interval: orNull(option.delay(undefined, { min: 1 })),
  timeout: orNull(option.delay(undefined, { min: 1 })),
  retries: option.count(3, { min: 1 }),
})

/** What an app that is a command may say, and one that is a system says itself. */
const commandSpec = {
  cwd: option.text().optional(),
  ports: option.record(option.port(), { key: option.name() }).optional(),
  health: commandHealth.orFalse().optional(),
  requires: option
    .nested({
      postgres: option.boolean(false),
      redis: option.boolean(false),
      secrets: option.list(option.name(), { unique: (name) => name }),
    })
    .optional(),
}

const appSpec = {
  name: option.name(),
  bootstrap: option.text().optional(),
  command: option.list(option.text(), { min: 1 }).optional(),
  ...commandSpec,
  critical: option.boolean(false),
  dependsOn: namesOption,
  startupTimeout: orNull(option.delay(undefined, { min: 1 })),
  watch: orNull(option.nested({ directory: option.text(), ignore: namesOption })),
  enabled: option.boolean(true),
  env: environmentOption,
}

const commandKeys = ['cwd', 'ports', 'health', 'requires'] as const

/** Each app is a system or a command. */
const appOption = option.nested(appSpec).map((given, path): EcosystemApp => {
  const { bootstrap, command, cwd, ports, health, requires, ...app } = given
  if (bootstrap !== undefined && command === undefined) {
    const strange = commandKeys.find((key) => given[key] !== undefined)
    if (strange === undefined) return Object.freeze({ ...app, bootstrap, command: null })
    throw new TypeError(
      `${path}.${strange}: is for a command. A system says that itself, in its bootstrap file.`,
    )
  }
  if (bootstrap !== undefined || command === undefined)
    throw new TypeError(`${path}: needs either bootstrap, the file of a system, or command, a program.`)
  const program = { program: command, cwd: cwd ?? '.', ports: ports ?? {}, health, requires }
  return Object.freeze({ ...app, bootstrap: null, command: toCommand(program, path) })
})

function toCommand(
  given: Omit<EcosystemCommand, 'health' | 'requires'> & {
    readonly health: EcosystemCommand['health'] | undefined
    readonly requires: EcosystemCommand['requires'] | undefined
  },
  path: string,
): EcosystemCommand {
  const { ports, health, requires = { postgres: false, redis: false, secrets: [] } } = given
  const hasPorts = Object.keys(ports).length > 0
  if (health && !hasPorts)
    throw new TypeError(`${path}.health: it has no port that could be asked. Give ports: { http: 0 }.`)
  if (health && health.http !== null && ports['http'] === undefined)
    throw new TypeError(`${path}.health.http: it has no port named "http". Give ports: { http: 0 }.`)
  const connects = { http: null, interval: null, timeout: null, retries: 3 }
  return { ...given, requires, health: health ?? (hasPorts && connects) }
}

const serverOf = (protocols: readonly string[]) =>
  option
    .nested({
      url: orNull(option.url(undefined, { protocols }).map(({ href }) => href)),
      port: orNull(option.port()),
    })
    .map((server, path) => {
      if (server.url !== null && server.port !== null) {
        throw new TypeError(
          `${path}: has both url and port. The port is that of a private server; with a url none is started.`,
        )
      }
      return server
    })
    .orFalse()

const serviceSpec = {
  preset: option.text(),
  ports: option.record(option.port()),
  config: option.record(option.json().map((value) => deepFreeze(value))),
  env: environmentOption,
}

const backoffSpec = {
  type: option.oneOf(['exponential', 'fixed'], supervision.backoff.type),
  initial: option.delay(supervision.backoff.initial),
  max: option.delay(supervision.backoff.max),
  factor: option.number(supervision.backoff.factor, { min: 1 }),
}

const ecosystemSpec = {
  project: option.name(),
  apps: option.list(appOption, { min: 1, unique: ({ name }) => name }),
  infrastructure: option.nested({
    postgres: serverOf(['postgres:', 'postgresql:']),
    redis: serverOf(['redis:', 'rediss:']),
    services: option.record(option.nested(serviceSpec), { key: option.name() }),
  }),
  supervision: option.nested({
    strategy: option.oneOf(['one_for_one', 'one_for_all', 'rest_for_one'], supervision.strategy),
    maxRestarts: option.count(supervision.maxRestarts),
    window: option.delay(supervision.window, { min: 1 }),
    onSupervisorLoss: orNull(option.oneOf(['keep', 'stop'])),
    backoff: option.nested(backoffSpec),
  }),
  monitoring: option.nested({
    healthCheck: option.nested({
      interval: option.delay(monitoring.healthCheck.interval, { min: 1 }),
      timeout: option.delay(monitoring.healthCheck.timeout, { min: 1 }),
    }),
    metrics: option.nested({
      interval: option.delay(monitoring.metrics.interval, { min: 1 }),
      retention: option.duration(monitoring.metrics.retention),
    }),
  }),
  logging: option.nested({
    level: option.oneOf(logLevels, logging.level),
    maxSize: option.size(logging.maxSize, { min: 1 }),
    maxFiles: option.count(logging.maxFiles, { min: 1 }),
    compress: option.boolean(logging.compress),
  }),
}

/**
 * Validates an ecosystem and fills in every default; what it returns is frozen and survives JSON.
 *
 * @throws TypeError naming every problem at once: unknown keys with what was probably meant, values of the wrong
 *   form, and contradictions.
 */
export function defineEcosystem(options: EcosystemOptions): Ecosystem {
  const ecosystem: Ecosystem = readOptions<EcosystemOptions, typeof ecosystemSpec>(
    options,
    ecosystemSpec,
    '',
    {
      title: 'The ecosystem is not valid',
      check(read, note) {
        checkApps(read.apps, note)
        checkBackoff(read.supervision.backoff, options.supervision?.backoff?.factor, note)
        checkMonitoring(read.monitoring, note)
      },
    },
  )
  return deepFreeze(
    brandDefinition('ecosystem', { ...ecosystem, apps: [...sortByDependencies(ecosystem.apps)] }),
  )
}

/** Recognises what {@link defineEcosystem} returns, e.g. the default export of a module. */
export function isEcosystem(value: unknown): value is Ecosystem {
  return isDefinition('ecosystem', value)
}

function checkApps(apps: readonly EcosystemApp[], note: NoteProblem): void {
  for (const problem of dependencyProblems(apps)) note('apps', problem)
  const off = new Set(apps.filter((app) => !app.enabled).map((app) => app.name))
  for (const { name, enabled, dependsOn } of apps) {
    const missing = enabled ? dependsOn.find((each) => off.has(each)) : undefined
    if (missing === undefined) continue
    note('apps', `"${name}" depends on "${missing}", which has enabled: false, so it could never start.`)
  }
}

function checkBackoff(
  { type, initial, max }: Ecosystem['supervision']['backoff'],
  factor: number | undefined,
  note: NoteProblem,
): void {
  const path = 'supervision.backoff'
  if (type === 'fixed' && factor !== undefined)
    note(path, "has a factor, but type 'fixed' always waits the same time.")
  if (initial > max) note(path, `initial (${initial} ms) is longer than max (${max} ms).`)
}

/** Samples that are kept of one process; each takes 32 bytes of the supervisor's memory. */
const maxSamples = 100_000

function checkMonitoring({ healthCheck, metrics }: Ecosystem['monitoring'], note: NoteProblem): void {
  const { interval, retention } = metrics
  if (healthCheck.timeout > healthCheck.interval) {
    note(
      'monitoring.healthCheck',
      `the timeout (${healthCheck.timeout} ms) is longer than the interval (${healthCheck.interval} ms), so probes would overlap.`,
    )
  }
  if (retention < interval) {
    note(
      'monitoring.metrics',
      `the retention (${retention} ms) is shorter than the interval (${interval} ms), so nothing would be kept. Numbers are milliseconds; write '1h' for an hour.`,
    )
  }
  if (retention / interval > maxSamples) {
    note(
      'monitoring.metrics',
      `a retention of ${retention} ms at an interval of ${interval} ms keeps more than ${maxSamples} samples of each process in memory. Shorten the one or lengthen the other.`,
    )
  }
}
