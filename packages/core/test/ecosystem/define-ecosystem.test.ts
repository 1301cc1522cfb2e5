import { describe, expect, it } from 'vitest'
import {
  defineEcosystem,
  ecosystemDefaults,
  isEcosystem,
  type Ecosystem,
  type EcosystemCommandHealth,
  type EcosystemOptions,
} from '../../src/ecosystem.ts'
import { declaredOptions, supervisedOptions } from '../declared-options.ts'

const minimal: EcosystemOptions = { project: 'platform', apps: [{ name: 'auth', bootstrap: './auth.ts' }] }
const loose = (options: unknown): EcosystemOptions => options as EcosystemOptions

function app(change: object): Partial<EcosystemOptions> {
  return { apps: [{ name: 'auth', bootstrap: './auth.ts', ...change }] }
}

function command(change: object): Partial<EcosystemOptions> {
  return { apps: [{ name: 'auth', command: ['true'], ...change }] }
}

function health(change: object): Partial<EcosystemOptions> {
  return command({ ports: { http: 0 }, health: change })
}

function healthOf({ apps }: Ecosystem): EcosystemCommandHealth | undefined {
  return apps[0]?.command?.health || undefined
}

/** For every declared option: a value other than the default, and where it shows in the result. */
const effects: Readonly<
  Record<string, readonly [Partial<EcosystemOptions>, (ecosystem: Ecosystem) => unknown, unknown]>
> = {
  'EcosystemOptions.project': [{ project: 'other' }, ({ project }) => project, 'other'],
  'EcosystemOptions.apps': [app({ name: 'other' }), ({ apps }) => apps.map(({ name }) => name), ['other']],
  'EcosystemOptions.infrastructure': [
    { infrastructure: { redis: false } },
    (e) => e.infrastructure.redis,
    false,
  ],
  'EcosystemOptions.supervision': [{ supervision: { maxRestarts: 1 } }, (e) => e.supervision.maxRestarts, 1],
  'EcosystemOptions.monitoring': [
    { monitoring: { metrics: { interval: 50 } } },
    (e) => e.monitoring,
    { healthCheck: { interval: 8_000, timeout: 3_000 }, metrics: { interval: 50, retention: 3_600_000 } },
  ],
  'EcosystemOptions.logging': [{ logging: { maxFiles: 3 } }, (e) => e.logging.maxFiles, 3],
  'EcosystemAppOptions.name': [app({ name: 'a' }), (e) => e.apps[0]?.name, 'a'],
  'EcosystemAppOptions.bootstrap': [app({ bootstrap: './b.ts' }), (e) => e.apps[0]?.bootstrap, './b.ts'],
  'EcosystemAppOptions.command': [
    command({ command: ['node', 'a.js'] }),
    (e) => e.apps[0]?.command?.program,
    ['node', 'a.js'],
  ],
  'EcosystemAppOptions.cwd': [command({ cwd: './shop' }), (e) => e.apps[0]?.command?.cwd, './shop'],
  'EcosystemAppOptions.ports': [
    command({ ports: { http: 3_000 } }),
    (e) => e.apps[0]?.command?.ports,
    { http: 3_000 },
  ],
  'EcosystemAppOptions.health': [
    command({ ports: { http: 0 }, health: false }),
    (e) => e.apps[0]?.command?.health,
    false,
  ],
  'CommandHealthOptions.http': [health({ http: '/ok' }), (e) => healthOf(e)?.http, '/ok'],
  'CommandHealthOptions.interval': [health({ interval: '2s' }), (e) => healthOf(e)?.interval, 2_000],
  'CommandHealthOptions.timeout': [health({ timeout: '1s' }), (e) => healthOf(e)?.timeout, 1_000],
  'CommandHealthOptions.retries': [health({ retries: 9 }), (e) => healthOf(e)?.retries, 9],
  'EcosystemAppOptions.requires': [
    command({ requires: { redis: true } }),
    (e) => e.apps[0]?.command?.requires,
    { postgres: false, redis: true, secrets: [] },
  ],
  'CommandRequirements.postgres': [
    command({ requires: { postgres: true } }),
    (e) => e.apps[0]?.command?.requires.postgres,
    true,
  ],
  'CommandRequirements.redis': [
    command({ requires: { redis: true } }),
    (e) => e.apps[0]?.command?.requires.redis,
    true,
  ],
  'CommandRequirements.secrets': [
    command({ requires: { secrets: ['key'] } }),
    (e) => e.apps[0]?.command?.requires.secrets,
    ['key'],
  ],
  'EcosystemAppOptions.critical': [app({ critical: true }), (e) => e.apps[0]?.critical, true],
  'EcosystemAppOptions.dependsOn': [
    {
      apps: [
        { name: 'media', bootstrap: './m.ts', dependsOn: ['auth'] },
        { name: 'auth', bootstrap: './a.ts' },
      ],
    },
    (e) => e.apps.map(({ name, dependsOn }) => [name, dependsOn]),
    [
      ['auth', []],
      ['media', ['auth']],
    ],
  ],
  'EcosystemAppOptions.startupTimeout': [
    app({ startupTimeout: '90s' }),
    (e) => e.apps[0]?.startupTimeout,
    90_000,
  ],
  'EcosystemAppOptions.watch': [
    app({ watch: { directory: './a' } }),
    (e) => e.apps[0]?.watch,
    { directory: './a', ignore: [] },
  ],
  'EcosystemAppOptions.enabled': [app({ enabled: false }), (e) => e.apps[0]?.enabled, false],
  'EcosystemAppOptions.env': [app({ env: { A: '1' } }), (e) => e.apps[0]?.env, { A: '1' }],
  'WatchOptions.directory': [app({ watch: { directory: './b' } }), (e) => e.apps[0]?.watch?.directory, './b'],
  'WatchOptions.ignore': [
    app({ watch: { directory: '.', ignore: ['tmp/**'] } }),
    (e) => e.apps[0]?.watch?.ignore,
    ['tmp/**'],
  ],
  'InfrastructureOptions.postgres': [
    { infrastructure: { postgres: false } },
    (e) => e.infrastructure.postgres,
    false,
  ],
  'InfrastructureOptions.redis': [
    { infrastructure: { redis: { url: 'redis://h:1' } } },
    (e) => e.infrastructure.redis,
    { url: 'redis://h:1', port: null },
  ],
  'InfrastructureOptions.services': [
    { infrastructure: { services: { gateway: { preset: 'quintet' } } } },
    (e) => e.infrastructure.services,
    { gateway: { preset: 'quintet', ports: {}, config: {}, env: {} } },
  ],
  'ServerOptions.url': [
    { infrastructure: { postgres: { url: 'postgres://h/db' } } },
    (e) => e.infrastructure.postgres,
    { url: 'postgres://h/db', port: null },
  ],
  'ServerOptions.port': [
    { infrastructure: { postgres: { port: 5433 } } },
    (e) => e.infrastructure.postgres,
    { url: null, port: 5433 },
  ],
  'InfrastructureServiceOptions.preset': [
    service({ preset: 'tor' }),
    (e) => e.infrastructure.services['s']?.preset,
    'tor',
  ],
  'InfrastructureServiceOptions.ports': [
    service({ ports: { http: 8080 } }),
    (e) => e.infrastructure.services['s']?.ports,
    { http: 8080 },
  ],
  'InfrastructureServiceOptions.config': [
    service({ config: { hiddenServices: [{ name: 'a', virtualPort: 80 }] } }),
    (e) => e.infrastructure.services['s']?.config,
    { hiddenServices: [{ name: 'a', virtualPort: 80 }] },
  ],
  'InfrastructureServiceOptions.env': [
    service({ env: { A: '1' } }),
    (e) => e.infrastructure.services['s']?.env,
    { A: '1' },
  ],
  'SupervisionOptions.strategy': [
    { supervision: { strategy: 'rest_for_one' } },
    (e) => e.supervision.strategy,
    'rest_for_one',
  ],
  'SupervisionOptions.maxRestarts': [
    { supervision: { maxRestarts: 0 } },
    (e) => e.supervision.maxRestarts,
    0,
  ],
  'SupervisionOptions.onSupervisorLoss': [
    { supervision: { onSupervisorLoss: 'keep' } },
    (e) => e.supervision.onSupervisorLoss,
    'keep',
  ],
  'SupervisionOptions.window': [{ supervision: { window: '2m' } }, (e) => e.supervision.window, 120_000],
  'SupervisionOptions.backoff': [
    { supervision: { backoff: { initial: 5 } } },
    (e) => e.supervision.backoff,
    { type: 'exponential', initial: 5, max: 30_000, factor: 2 },
  ],
  'BackoffOptions.type': [
    { supervision: { backoff: { type: 'fixed' } } },
    (e) => e.supervision.backoff.type,
    'fixed',
  ],
  'BackoffOptions.initial': [
    { supervision: { backoff: { initial: '2s' } } },
    (e) => e.supervision.backoff.initial,
    2_000,
  ],
  'BackoffOptions.max': [
    { supervision: { backoff: { max: '1m' } } },
    (e) => e.supervision.backoff.max,
    60_000,
  ],
  'BackoffOptions.factor': [
    { supervision: { backoff: { factor: 1.5 } } },
    (e) => e.supervision.backoff.factor,
    1.5,
  ],
  'MonitoringOptions.healthCheck.interval': [
    { monitoring: { healthCheck: { interval: '30s' } } },
    (e) => e.monitoring.healthCheck.interval,
    30_000,
  ],
  'MonitoringOptions.healthCheck.timeout': [
    { monitoring: { healthCheck: { timeout: '1s' } } },
    (e) => e.monitoring.healthCheck.timeout,
    1_000,
  ],
  'MonitoringOptions.metrics.interval': [
    { monitoring: { metrics: { interval: '10s' } } },
    (e) => e.monitoring.metrics.interval,
    10_000,
  ],
  'MonitoringOptions.metrics.retention': [
    { monitoring: { metrics: { retention: '2h' } } },
    (e) => e.monitoring.metrics.retention,
    7_200_000,
  ],
  'LoggingOptions.level': [{ logging: { level: 'debug' } }, (e) => e.logging.level, 'debug'],
  'LoggingOptions.maxSize': [{ logging: { maxSize: '1mb' } }, (e) => e.logging.maxSize, 1024 ** 2],
  'LoggingOptions.maxFiles': [{ logging: { maxFiles: 1 } }, (e) => e.logging.maxFiles, 1],
  'LoggingOptions.compress': [{ logging: { compress: false } }, (e) => e.logging.compress, false],
}

function service(change: object): Partial<EcosystemOptions> {
  return { infrastructure: { services: { s: { preset: 'quintet', ...change } } } }
}

describe('every option of defineEcosystem', () => {
  it('has an effect that this table knows', () => {
    expect(Object.keys(effects).toSorted()).toEqual(
      declaredOptions('ecosystem/ecosystem.ts', 'EcosystemOptions').toSorted(),
    )
  })

  it('does something in the supervisor, which has a table of its own', () => {
    expect(supervisedOptions()).toEqual(expect.arrayContaining(Object.keys(effects)))
  })

  it.each(Object.entries(effects))('%s shows in the result', (_name, [options, read, expected]) => {
    expect(read(defineEcosystem({ ...minimal, ...options }))).toEqual(expected)
    expect(read(defineEcosystem(minimal))).not.toEqual(expected)
  })
})

describe('defineEcosystem', () => {
  it('fills in its defaults', () => {
    expect(defineEcosystem(minimal)).toEqual({
      project: 'platform',
      apps: [
        {
          name: 'auth',
          bootstrap: './auth.ts',
          command: null,
          critical: false,
          dependsOn: [],
          startupTimeout: null,
          watch: null,
          enabled: true,
          env: {},
        },
      ],
      infrastructure: { postgres: { url: null, port: null }, redis: { url: null, port: null }, services: {} },
      supervision: {
        strategy: 'one_for_one',
        maxRestarts: 5,
        window: 60_000,
        onSupervisorLoss: null,
        backoff: { type: 'exponential', initial: 1_000, max: 30_000, factor: 2 },
      },
      monitoring: {
        healthCheck: { interval: 8_000, timeout: 3_000 },
        metrics: { interval: 5_000, retention: 3_600_000 },
      },
      logging: { level: 'info', maxSize: 50 * 1024 ** 2, maxFiles: 10, compress: true },
    })
    expect(ecosystemDefaults.supervision.window).toBe('60s')
  })

  it('gives plain, frozen data that survives JSON, and is recognised', () => {
    const ecosystem = defineEcosystem({ ...minimal, ...service({ config: { a: [1] } }) })
    expect(JSON.parse(JSON.stringify(ecosystem))).toEqual(ecosystem)
    expect(Object.isFrozen(ecosystem.infrastructure.services['s']?.config['a'])).toBe(true)
    expect(isEcosystem(ecosystem)).toBe(true)
    expect(isEcosystem({ ...ecosystem })).toBe(false)
    expect(isEcosystem(null)).toBe(false)
  })

  it('does not change what it is given', () => {
    const options = structuredClone({ ...minimal, logging: { maxFiles: 3 } })
    defineEcosystem(options)
    expect(options).toEqual({ ...minimal, logging: { maxFiles: 3 } })
    expect(Object.isFrozen(options.apps)).toBe(false)
  })

  it('reports all problems at once', () => {
    const problems = (): unknown =>
      defineEcosystem(
        loose({
          project: 'My Platform',
          aps: [],
          apps: [
            { name: 'auth', bootstrap: '', critcal: true },
            { name: 'auth', bootstrap: './b.ts', dependsOn: ['ledger'] },
          ],
          logging: { level: 'verbose', maxSize: '50 mb' },
        }),
      )
    expect(problems).toThrow(TypeError)
    for (const message of [
      'unknown key "aps". Did you mean "apps"?',
      'project: "My Platform" is not a name: a lower-case letter',
      'apps[0]: unknown key "critcal". Did you mean "critical"?',
      'apps[0].bootstrap: "" is not a text that is not empty',
      'logging.level: "verbose" is not one of',
      'logging.maxSize: "50 mb" is not a size',
    ]) {
      expect(problems).toThrow(message)
    }
  })

  it.each<readonly [string, object]>([
    [
      'the timeout (20000 ms) is longer than the interval',
      { monitoring: { healthCheck: { timeout: '20s' } } },
    ],
    ['monitoring.healthCheck.interval: 0 ms is too small', { monitoring: { healthCheck: { interval: 0 } } }],
    ['backoff.max: "30d" is longer than a timer can wait', { supervision: { backoff: { max: '30d' } } }],
    [
      'keeps more than 100000 samples of each process in memory',
      { monitoring: { metrics: { interval: '10ms', retention: '365d' } } },
    ],
    ["write '1h' for an hour", { monitoring: { metrics: { retention: 3_600 } } }],
    ['initial (60000 ms) is longer than max', { supervision: { backoff: { initial: '60s' } } }],
    ["type 'fixed' always waits the same", { supervision: { backoff: { type: 'fixed', factor: 3 } } }],
    [
      'supervision.backoff.factor: 0.5 is not a number of at least 1',
      { supervision: { backoff: { factor: 0.5 } } },
    ],
    ['supervision.window: 0 ms is too small', { supervision: { window: 0 } }],
    ['supervision.maxRestarts: -1 is not a whole number of at least 0', { supervision: { maxRestarts: -1 } }],
    ["Did you mean 'one_for_one'?", { supervision: { strategy: 'one-for-one' } }],
    ['monitoring.metrics.interval: 0 ms is too small', { monitoring: { metrics: { interval: 0 } } }],
    ['logging.maxSize: 0 bytes is too small', { logging: { maxSize: 0 } }],
    ['logging.maxFiles: 0 is not a whole number of at least 1', { logging: { maxFiles: 0 } }],
    ['logging.compress: "yes" is not true or false', { logging: { compress: 'yes' } }],
    ['apps: has 0 of at least 1', { apps: [] }],
    ['apps: a number is not a list', { apps: 7 }],
    ['apps[0]: null is not an object', { apps: [null] }],
    [
      'apps[0].dependsOn: holds "b" twice',
      {
        apps: [
          { name: 'a', bootstrap: 'x', dependsOn: ['b', 'b'] },
          { name: 'b', bootstrap: 'x' },
        ],
      },
    ],
    ['apps[0].dependsOn[0]: 7 is not a text', app({ dependsOn: [7] })],
    ['go round in a circle: auth -> auth', app({ dependsOn: ['auth'] })],
    [
      'depends on "auth", which has enabled: false',
      {
        apps: [
          { name: 'auth', bootstrap: 'x', enabled: false },
          { name: 'b', bootstrap: 'x', dependsOn: ['auth'] },
        ],
      },
    ],
    ['apps[0].startupTimeout: 0 ms is too small', app({ startupTimeout: 0 })],
    ['apps[0].env.PORT: 1 is not a text. Put numbers and booleans in quotes', app({ env: { PORT: 1 } })],
    ['"A B" is not a name of an environment variable', app({ env: { 'A B': '1' } })],
    ['apps[0].watch.directory: is missing', app({ watch: {} })],
    ['has both url and port', { infrastructure: { postgres: { url: 'postgres://h', port: 1 } } }],
    ['is not a URL that starts with redis:', { infrastructure: { redis: { url: 'http://h' } } }],
    ['70000 is not a port from 0 to 65535', { infrastructure: { redis: { port: 70_000 } } }],
    ['infrastructure.services.s.preset: is missing', { infrastructure: { services: { s: {} } } }],
    [
      'infrastructure.services.s.config.handler: a function is not plain data',
      service({ config: { handler: () => 1 } }),
    ],
    ['unknown key "stacks". Known keys', { stacks: {} }],
    [
      'apps: holds "a" twice',
      {
        apps: [
          { name: 'a', bootstrap: 'x' },
          { name: 'a', bootstrap: 'y' },
        ],
      },
    ],
    ['"auth" depends on "ledger", which does not exist', app({ dependsOn: ['ledger'] })],
    ['apps[0]: needs either bootstrap', { apps: [{ name: 'a' }] }],
    ['apps[0]: needs either bootstrap', app({ command: ['true'] })],
    ['apps[0].ports: is for a command', app({ ports: { http: 1 } })],
    ['apps[0].command: has 0 of at least 1', { apps: [{ name: 'a', command: [] }] }],
    ['apps[0].health: it has no port that could be asked', command({ health: { http: '/ok' } })],
    [
      'apps[0].health.http: it has no port named "http"',
      command({ ports: { tcp: 0 }, health: { http: '/ok' } }),
    ],
    ['apps[0].health.http: "ok" is not a path', health({ http: 'ok' })],
  ])('explains: %s', (message, change) => {
    expect(() => defineEcosystem(loose({ ...minimal, ...change }))).toThrow(message)
  })
})
