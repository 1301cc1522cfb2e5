import { readFileSync } from 'node:fs'
import { defineSystem, type ProcessEntry, type SystemOptions } from '@quintet/core'
import { defineEcosystem, type EcosystemOptions } from '@quintet/core/ecosystem'
import { describe, expect, it } from 'vitest'
import { buildPlan } from '../../src/plan/build-plan.ts'
import type { Plan } from '../../src/plan/plan.ts'
import { plainHttp } from '../fixtures/plain-http.ts'

interface Change {
  readonly ecosystem?: object
  readonly app?: object
  readonly system?: Partial<SystemOptions>
  readonly process?: Partial<ProcessEntry>
}

/** How an option gets to the supervisor, and the test that shows what it then does. */
interface Row {
  readonly change?: Change
  readonly read?: (plan: Plan) => unknown
  readonly expected?: unknown
  /** The file under `test/`, and the name of the test in it. */
  readonly shownBy: readonly [file: string, test: string]
}

const web = (plan: Plan) => plan.processes.find((each) => each.id.startsWith('shop/http'))
const gateway = (change: object): Change => ({
  ecosystem: { infrastructure: { services: { gateway: { preset: 'quintet', ...change } } } },
})
const probe = (change: object): Change => ({ process: { health: change } })
const watch = (change: object): Change => ({ app: { watch: { directory: '.', ...change } } })
const backoff = (change: object): Change => ({ ecosystem: { supervision: { backoff: change } } })
const logging = (change: object): Change => ({ ecosystem: { logging: change } })

const supervisor = 'launch/launch-ecosystem.integration.test.ts'
const machine = 'supervisor/process-machine.test.ts'
const store = [
  'launch/store.integration.test.ts',
  'gets its database, migrations, Redis, secrets and siblings before it is ready',
] as const
const servers = [
  'launch/store.integration.test.ts',
  'uses the servers and the ports that the ecosystem file names',
] as const
const environment = [
  supervisor,
  'gives each process the environment, the log level and the gateway that the ecosystem file says',
] as const
const ordered = [
  supervisor,
  'starts each app when what it depends on is ready, leads to it through the gateway, and stops in reverse',
] as const
const critical = [
  supervisor,
  'stops everything with exit code 1 when a critical app fails, and says why',
] as const
const slow = [supervisor, 'fails a start that takes longer than startupTimeout'] as const
const hung = [supervisor, 'restarts a process that does not answer any more'] as const
const silent = [machine, 'is restarted when it does not answer `retries` probes in a row'] as const
const budget = [machine, 'fails when it crashes more often than maxRestarts within the window'] as const
const delays = ['supervisor/backoff.test.ts', 'doubles from the initial delay up to the longest'] as const
const watched = [
  'dev/watch-apps.integration.test.ts',
  'restarts an app when the content of one of its files changes, and not when one is only touched',
] as const
const commands = 'launch/commands.integration.test.ts'
const command = [commands, 'is ready when it answers, and what depends on it starts then'] as const
const provided = [
  commands,
  'gets its ports, a database, Redis and its secrets, and none of the keys of ours',
] as const
const asked = [
  commands,
  'is unhealthy while its path says so, is restarted when it gives no answer, and after a crash',
] as const
const measured = [
  'metrics/sampler.test.ts',
  'measures again and again, and keeps no more than the retention',
] as const

const rows: Readonly<Record<string, Row>> = {
  'SystemOptions.env': {
    change: { system: { env: { A: '1' } } },
    read: (plan) => web(plan)?.env,
    expected: { A: '1' },
    shownBy: environment,
  },
  'SystemOptions.settings.schema': {
    shownBy: [
      'cli/actions/settings-command.integration.test.ts',
      'refuses a bad value with the message of the schema, and changes nothing',
    ],
  },
  'SystemOptions.settings.namespace': {
    shownBy: [
      'cli/actions/settings-command.integration.test.ts',
      'changes a setting, and every running process of the app follows within a second',
    ],
  },
  'SystemOptions.requires': { shownBy: store },
  'ProcessEntry.critical': {
    change: { process: { critical: true } },
    read: (plan) => web(plan)?.critical,
    expected: true,
    shownBy: critical,
  },
  'ProcessEntry.instances': {
    change: { process: { instances: 2 } },
    read: (plan) => plan.processes.map(({ id }) => id),
    expected: ['shop/prices', 'shop/http.0', 'shop/http.1'],
    shownBy: store,
  },
  'ProcessEntry.health': {
    change: { process: { health: false } },
    read: (plan) => web(plan)?.health,
    expected: false,
    shownBy: [machine, 'is ready without a probe when it has no health checks'],
  },
  'ProcessEntry.startupTimeout': {
    change: { process: { startupTimeout: '9s' } },
    read: (plan) => web(plan)?.startupTimeout,
    expected: 9_000,
    shownBy: slow,
  },
  'ProcessEntry.env': {
    change: { system: { env: { A: '1' } }, process: { env: { A: '2' } } },
    read: (plan) => web(plan)?.env,
    expected: { A: '2' },
    shownBy: environment,
  },
  'ProbeOptions.interval': {
    change: probe({ interval: '9s' }),
    read: (plan) => web(plan)?.health,
    expected: { interval: 9_000, timeout: 3_000, retries: 3 },
    shownBy: silent,
  },
  'ProbeOptions.timeout': {
    change: probe({ timeout: '1s' }),
    read: (plan) => web(plan)?.health,
    expected: { interval: 8_000, timeout: 1_000, retries: 3 },
    shownBy: hung,
  },
  'ProbeOptions.retries': {
    change: probe({ retries: 7 }),
    read: (plan) => web(plan)?.health,
    expected: { interval: 8_000, timeout: 3_000, retries: 7 },
    shownBy: silent,
  },
  'ShutdownOptions.priority': {
    change: { system: { shutdown: { priority: 7 } } },
    read: (plan) => web(plan)?.stopPriority,
    expected: 7,
    shownBy: [
      'supervisor/stop-order.test.ts',
      'stops those with the lowest priority first where there is a choice',
    ],
  },
  'RequirementOptions.postgres': {
    change: { system: { requires: { postgres: true } } },
    read: (plan) => plan.apps[0]?.requires.postgres,
    expected: true,
    shownBy: store,
  },
  'RequirementOptions.redis': {
    change: { system: { requires: { redis: true } } },
    read: (plan) => plan.apps[0]?.requires.redis,
    expected: true,
    shownBy: store,
  },
  'RequirementOptions.migrations': {
    change: { system: { requires: { postgres: true, migrations: './m' } } },
    read: (plan) => [plan.apps[0]?.requires.migrations, plan.processes[0]?.id],
    expected: ['/project/shop/m', 'shop/migrate'],
    shownBy: store,
  },
  'RequirementOptions.secrets': {
    change: { system: { requires: { secrets: ['cnf'] } } },
    read: (plan) => plan.apps[0]?.requires.secrets,
    expected: ['cnf'],
    shownBy: [
      supervisor,
      'keeps administrator URLs and its own variables from the apps, and gives secrets only to those that name them',
    ],
  },
  'EcosystemOptions.project': {
    change: { ecosystem: { project: 'other' } },
    read: (plan) => plan.project,
    expected: 'other',
    shownBy: store,
  },
  'EcosystemOptions.apps': {
    change: { app: { name: 'shop', bootstrap: './elsewhere/shop.ts' } },
    read: (plan) => plan.apps[0]?.bootstrap,
    expected: '/project/elsewhere/shop.ts',
    shownBy: ordered,
  },
  'EcosystemOptions.infrastructure': { shownBy: servers },
  'EcosystemOptions.supervision': { shownBy: budget },
  'EcosystemOptions.monitoring': { shownBy: measured },
  'EcosystemOptions.logging': { shownBy: environment },
  'EcosystemAppOptions.name': {
    shownBy: ['plan/load-plan.test.ts', 'an app with another name than its system'],
  },
  'EcosystemAppOptions.bootstrap': { shownBy: ordered },
  'EcosystemAppOptions.command': { shownBy: command },
  'EcosystemAppOptions.cwd': { shownBy: command },
  'EcosystemAppOptions.ports': { shownBy: provided },
  'EcosystemAppOptions.health': { shownBy: asked },
  'CommandHealthOptions.http': { shownBy: asked },
  'CommandHealthOptions.interval': { shownBy: asked },
  'CommandHealthOptions.timeout': { shownBy: asked },
  'CommandHealthOptions.retries': { shownBy: asked },
  'EcosystemAppOptions.requires': { shownBy: provided },
  'CommandRequirements.postgres': { shownBy: provided },
  'CommandRequirements.redis': { shownBy: provided },
  'CommandRequirements.secrets': { shownBy: provided },
  'EcosystemAppOptions.critical': {
    change: { app: { critical: true } },
    read: (plan) => plan.apps[0]?.critical,
    expected: true,
    shownBy: critical,
  },
  'EcosystemAppOptions.dependsOn': { shownBy: ordered },
  'EcosystemAppOptions.startupTimeout': {
    change: { app: { startupTimeout: '9s' }, process: { startupTimeout: '8s' } },
    read: (plan) => web(plan)?.startupTimeout,
    expected: 9_000,
    shownBy: [supervisor, 'gives a start longer than its process says, where the ecosystem file does'],
  },
  'EcosystemAppOptions.watch': {
    change: watch({}),
    read: (plan) => plan.apps[0]?.watch,
    expected: { directory: '/project', ignore: [] },
    shownBy: watched,
  },
  'EcosystemAppOptions.enabled': {
    shownBy: ['plan/load-plan.test.ts', 'leaves out an app that is not enabled'],
  },
  'EcosystemAppOptions.env': {
    change: { app: { env: { A: '3' } }, process: { env: { A: '2' } } },
    read: (plan) => web(plan)?.env,
    expected: { A: '3' },
    shownBy: environment,
  },
  'WatchOptions.directory': {
    change: watch({ directory: './src' }),
    read: (plan) => plan.apps[0]?.watch?.directory,
    expected: '/project/src',
    shownBy: watched,
  },
  'WatchOptions.ignore': {
    change: watch({ ignore: ['*.md'] }),
    read: (plan) => plan.apps[0]?.watch?.ignore,
    expected: ['*.md'],
    shownBy: watched,
  },
  'InfrastructureOptions.postgres': {
    change: { ecosystem: { infrastructure: { postgres: false } } },
    read: (plan) => plan.postgres,
    expected: false,
    shownBy: ['plan/load-plan.test.ts', 'an app that requires a PostgreSQL that the ecosystem forbids'],
  },
  'InfrastructureOptions.redis': {
    change: { ecosystem: { infrastructure: { redis: false } } },
    read: (plan) => plan.redis,
    expected: false,
    shownBy: ['plan/load-plan.test.ts', 'an app that requires a Redis that the ecosystem forbids'],
  },
  'InfrastructureOptions.services': {
    change: gateway({}),
    read: (plan) => plan.gateway?.routes.map(({ path }) => path),
    expected: ['/api/shop/'],
    shownBy: ordered,
  },
  'ServerOptions.url': { shownBy: servers },
  'ServerOptions.port': { shownBy: servers },
  'InfrastructureServiceOptions.preset': {
    shownBy: ['plan/load-plan.test.ts', 'a preset that does not exist'],
  },
  'InfrastructureServiceOptions.ports': {
    change: gateway({ ports: { http: 8081 } }),
    read: (plan) => plan.processes.at(-1)?.ports,
    expected: { http: 8081 },
    shownBy: environment,
  },
  'InfrastructureServiceOptions.config': {
    change: gateway({ config: { maxConnections: 7 } }),
    read: (plan) => plan.gateway?.config,
    expected: { maxConnections: 7 },
    shownBy: environment,
  },
  'InfrastructureServiceOptions.env': {
    change: gateway({ env: { A: '1' } }),
    read: (plan) => plan.processes.at(-1)?.env,
    expected: { A: '1' },
    shownBy: environment,
  },
  'SupervisionOptions.strategy': {
    change: { ecosystem: { supervision: { strategy: 'rest_for_one' } } },
    read: (plan) => plan.supervision.strategy,
    expected: 'rest_for_one',
    shownBy: [
      supervisor,
      'restarts those after it with rest_for_one, dependents first, and all with one_for_all',
    ],
  },
  'SupervisionOptions.maxRestarts': {
    change: { ecosystem: { supervision: { maxRestarts: 1 } } },
    read: (plan) => plan.supervision.maxRestarts,
    expected: 1,
    shownBy: budget,
  },
  'SupervisionOptions.window': {
    change: { ecosystem: { supervision: { window: '2m' } } },
    read: (plan) => plan.supervision.window,
    expected: 120_000,
    shownBy: [machine, 'fails in the end also when every life is a little longer than the window allows'],
  },
  'SupervisionOptions.onSupervisorLoss': {
    change: { ecosystem: { supervision: { onSupervisorLoss: 'keep' } } },
    read: (plan) => plan.supervision.onSupervisorLoss,
    expected: 'keep',
    shownBy: ['cli/actions/loss-policy.test.ts', 'of %s'],
  },
  'SupervisionOptions.backoff': { shownBy: delays },
  'BackoffOptions.type': {
    change: backoff({ type: 'fixed' }),
    read: (plan) => plan.supervision.backoff.type,
    expected: 'fixed',
    shownBy: ['supervisor/backoff.test.ts', 'always waits the same with type fixed'],
  },
  'BackoffOptions.initial': {
    change: backoff({ initial: '2s' }),
    read: (plan) => plan.supervision.backoff.initial,
    expected: 2_000,
    shownBy: delays,
  },
  'BackoffOptions.max': {
    change: backoff({ max: '1m' }),
    read: (plan) => plan.supervision.backoff.max,
    expected: 60_000,
    shownBy: delays,
  },
  'BackoffOptions.factor': {
    change: backoff({ factor: 3 }),
    read: (plan) => plan.supervision.backoff.factor,
    expected: 3,
    shownBy: delays,
  },
  'MonitoringOptions.healthCheck.interval': {
    change: { ecosystem: { monitoring: { healthCheck: { interval: '30s' } } } },
    read: (plan) => web(plan)?.health,
    expected: { interval: 30_000, timeout: 3_000, retries: 3 },
    shownBy: silent,
  },
  'MonitoringOptions.healthCheck.timeout': {
    change: { ecosystem: { monitoring: { healthCheck: { timeout: '1s' } } } },
    read: (plan) => web(plan)?.health,
    expected: { interval: 8_000, timeout: 1_000, retries: 3 },
    shownBy: hung,
  },
  'MonitoringOptions.metrics.interval': {
    change: { ecosystem: { monitoring: { metrics: { interval: '1s' } } } },
    read: (plan) => plan.metrics.interval,
    expected: 1_000,
    shownBy: measured,
  },
  'MonitoringOptions.metrics.retention': {
    change: { ecosystem: { monitoring: { metrics: { retention: '2h' } } } },
    read: (plan) => plan.metrics.retention,
    expected: 7_200_000,
    shownBy: measured,
  },
  'LoggingOptions.level': {
    change: logging({ level: 'debug' }),
    read: (plan) => plan.logging.level,
    expected: 'debug',
    shownBy: environment,
  },
  'LoggingOptions.maxSize': {
    change: logging({ maxSize: '1mb' }),
    read: (plan) => plan.logging.maxSize,
    expected: 1_048_576,
    shownBy: ['logs/log-writer.test.ts', 'rotates between lines and loses none'],
  },
  'LoggingOptions.maxFiles': {
    change: logging({ maxFiles: 3 }),
    read: (plan) => plan.logging.maxFiles,
    expected: 3,
    shownBy: ['logs/log-writer.test.ts', 'keeps no more than maxFiles files, the newest'],
  },
  'LoggingOptions.compress': {
    change: logging({ compress: false }),
    read: (plan) => plan.logging.compress,
    expected: false,
    shownBy: ['logs/log-writer.test.ts', 'compresses what it has rotated'],
  },
}

function planOf({ ecosystem, app, system, process }: Change): Plan {
  const module = './x.ts'
  const shop = defineSystem({
    name: 'shop',
    version: '1.0.0',
    processes: [
      {
        name: 'http',
        module,
        transports: { http: plainHttp(0) },
        topology: { access: ['prices'] },
        ...process,
      },
      { name: 'prices', module, topology: { expose: true } },
    ],
    ...system,
  })
  const made = defineEcosystem({
    project: 'corner',
    apps: [{ name: 'shop', bootstrap: './shop/shop.ts', ...app }],
    ...ecosystem,
  } as EcosystemOptions)
  const [entry] = made.apps
  if (entry === undefined) throw new Error('There is no app.')
  const bootstrap = new URL(entry.bootstrap ?? '', 'file:///project/').pathname
  return buildPlan({
    ecosystem: made,
    configFile: '/project/quintet.config.ts',
    apps: [{ app: entry, system: shop, bootstrap }],
  })
}

describe('every option that the supervisor acts on', () => {
  it('is that of the process where it says something, also when that is the default', () => {
    const ecosystem = { monitoring: { healthCheck: { interval: '30s', timeout: '20s' } } }
    const health = (process: Partial<ProcessEntry>) => web(planOf({ ecosystem, process }))?.health
    expect(health({ health: { interval: '8s' } })).toEqual({ interval: 8_000, timeout: 3_000, retries: 3 })
    expect(health({ health: { retries: 1 } })).toEqual({ interval: 30_000, timeout: 20_000, retries: 1 })
  })

  const planned = Object.entries(rows).filter(([, row]) => row.change !== undefined)

  it.each(planned)('%s gets into the plan', (_name, { change = {}, read, expected }) => {
    expect(read?.(planOf(change))).toEqual(expected)
    expect(read?.(planOf({}))).not.toEqual(expected)
  })

  it.each(Object.entries(rows))('%s is shown at work by a test', (_name, { shownBy: [file, test] }) => {
    const source = readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')
    expect(source).toContain(`'${test}'`)
  })
})
