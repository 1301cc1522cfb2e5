import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  createApp,
  defineEcosystem,
  defineProcess,
  defineSystem,
  isProcessDefinition,
  isSystem,
  noCredentials,
  overrides,
  route,
  silentLogger,
  systemDefaults,
  type App,
  type AppOptions,
  type ProcessEntry,
  type System,
  type SystemOptions,
} from '../src/index.ts'
import { testUser } from '../src/testing.ts'
import { declaredOptions } from './declared-options.ts'
import { recordedTransport } from './fake-transport.ts'
import { incomingCall } from './incoming-call.ts'

const module = async () => ({ default: defineProcess({}) })
const minimal: SystemOptions = { name: 'media', version: '1.0.0', processes: [{ name: 'http', module }] }
const loose = (options: unknown): SystemOptions => options as SystemOptions
const process = (change: object): object => ({ processes: [{ name: 'http', module, ...change }] })
const first = (system: System) => system.processes[0]

/** Starts the process, looks, and stops it. */
async function running<Result>(
  system: System,
  look: (app: App) => Promise<Result> | Result,
  options: AppOptions = {},
): Promise<Result> {
  await using app = await createApp(system, { logger: silentLogger, env: {}, ...options })
  return await look(app)
}

/** What the process does when the named hook is called. */
function hookEffect(name: string): Effect {
  const events: string[] = []
  return [
    { hooks: { [name]: () => void events.push(name) } },
    async (system) => {
      events.length = 0
      await running(system, (app) => app.health.report())
      return events
    },
    [name],
  ]
}

type Effect = readonly [object, (system: System) => unknown, unknown]

const schema = z.object({ port: z.number().default(1) })
const user = testUser()
const bearer = incomingCall({ credentials: { scheme: 'bearer', token: 't' } })
const answer = { input: () => 1, handle: (input: number) => input }

/**
 * For every declared option: a value other than the default, how to see its effect, and what is seen. What only the
 * supervisor acts on is seen in the definition that it reads.
 */
const effects: Readonly<Record<string, Effect>> = {
  'SystemOptions.name': [{ name: 'other' }, (system) => running(system, (app) => app.system.name), 'other'],
  'SystemOptions.version': [
    { version: '2.0.0' },
    (system) => running(system, (app) => app.system.version),
    '2.0.0',
  ],
  'SystemOptions.config.schema': [
    { config: { schema } },
    (system) => running(system, (app) => app.config),
    { port: 1 },
  ],
  'SystemOptions.config.sources': [
    { config: { schema, sources: [overrides({ port: 2 })] } },
    (system) => running(system, (app) => app.config),
    { port: 2 },
  ],
  'SystemOptions.setup': [
    { setup: () => ({ a: 1 }) },
    (system) => running(system, (app) => app.services),
    { a: 1 },
  ],
  'SystemOptions.auth': [
    { auth: () => ({ authenticate: async () => user }) },
    (system) => running(system, (app) => app.pipeline.authorize(bearer).catch(() => undefined)),
    user,
  ],
  'SystemOptions.wrappers': [
    { wrappers: () => [() => Promise.resolve('wrapped')] },
    (system) =>
      running(system, (app) =>
        app.pipeline.run({ ...bearer, credentials: noCredentials }, answer).catch(() => 'held'),
      ),
    'held',
  ],
  'SystemOptions.processes': [
    process({ name: 'jobs' }),
    (system) => running(system, (app) => app.process),
    'jobs',
  ],
  'SystemOptions.hooks': hookEffect('afterCreate'),
  'SystemOptions.shutdown': [{ shutdown: { timeout: '1s' } }, (system) => system.shutdown.timeout, 1_000],
  'SystemOptions.dev': [{ dev: { logLevel: 'trace' } }, (system) => system.dev.logLevel, 'trace'],
  'SystemOptions.env': [{ env: { A: '1' } }, (system) => system.env, { A: '1' }],
  'SystemOptions.requires': [{ requires: { redis: true } }, (system) => system.requires.redis, true],
  'ProcessEntry.name': [process({ name: 'jobs' }), (system) => running(system, (app) => app.process), 'jobs'],
  'ProcessEntry.module': [
    process({ module: async () => ({ default: defineProcess({ workers: [recordedTransport('w')] }) }) }),
    (system) => running(system, (app) => [...app.transports.keys()]),
    ['w'],
  ],
  'ProcessEntry.critical': [process({ critical: true }), (system) => first(system)?.critical, true],
  'ProcessEntry.instances': [process({ instances: 3 }), (system) => first(system)?.instances, 3],
  'ProcessEntry.transports': [
    process({ transports: { http: recordedTransport('http') } }),
    (system) => running(system, (app) => [...app.transports.keys()]),
    ['http'],
  ],
  'ProcessEntry.topology': [
    process({ topology: { expose: true } }),
    (system) =>
      running(system, (app) => [...app.transports.keys()], {
        links: {
          expose: () => recordedTransport('link'),
          connect: () => Promise.reject(new Error('unused')) as never,
        },
      }),
    ['link'],
  ],
  'ProcessEntry.health': [process({ health: false }), (system) => first(system)?.health, false],
  'ProcessEntry.startupTimeout': [
    process({
      startupTimeout: 5,
      transports: { http: recordedTransport('http', { onStart: () => new Promise(() => {}) }) },
    }),
    (system) =>
      system.processes[0]?.startupTimeout === 5
        ? running(system, () => '').catch((error: Error) => error.message)
        : '',
    'media/http could not start: the transport "http" failed: it was not done after 5 ms (startupTimeout).',
  ],
  'ProcessEntry.env': [process({ env: { A: '1' } }), (system) => first(system)?.env, { A: '1' }],
  'ProcessEntry.hooks': [
    process({ hooks: { onHealthCheck: () => ({ status: 'warn', checks: {} }) } }),
    (system) => running(system, async (app) => (await app.health.report()).status),
    'warn',
  ],
  'TopologyOptions.expose': [
    process({ topology: { expose: true } }),
    (system) => first(system)?.topology.expose,
    true,
  ],
  'TopologyOptions.access': [
    {
      processes: [
        { name: 'http', module, topology: { access: ['images'] } },
        { name: 'images', module, topology: { expose: true } },
      ],
    },
    (system) => first(system)?.topology.access,
    ['images'],
  ],
  'ProbeOptions.interval': [
    process({ health: { interval: '1m' } }),
    (system) => first(system)?.health,
    { interval: 60_000, timeout: 5_000, retries: 3 },
  ],
  'ProbeOptions.timeout': [
    process({ health: { timeout: '1s' } }),
    (system) => first(system)?.health,
    { interval: 15_000, timeout: 1_000, retries: 3 },
  ],
  'ProbeOptions.retries': [
    process({ health: { retries: 1 } }),
    (system) => first(system)?.health,
    { interval: 15_000, timeout: 5_000, retries: 1 },
  ],
  'ShutdownOptions.timeout': [{ shutdown: { timeout: '2s' } }, (system) => system.shutdown.timeout, 2_000],
  'ShutdownOptions.priority': [{ shutdown: { priority: -10 } }, (system) => system.shutdown.priority, -10],
  'ShutdownOptions.drainConnections': [
    { shutdown: { drainConnections: false } },
    (system) => system.shutdown.drainConnections,
    false,
  ],
  'DevOptions.logLevel': [{ dev: { logLevel: 'warn' } }, (system) => system.dev.logLevel, 'warn'],
  'DevOptions.sourceMaps': [{ dev: { sourceMaps: false } }, (system) => system.dev.sourceMaps, false],
  'RequirementOptions.postgres': [
    { requires: { postgres: true } },
    (system) => system.requires.postgres,
    true,
  ],
  'RequirementOptions.redis': [{ requires: { redis: true } }, (system) => system.requires.redis, true],
  'RequirementOptions.migrations': [
    { requires: { postgres: true, migrations: './migrations' } },
    (system) => system.requires.migrations,
    './migrations',
  ],
  'RequirementOptions.secrets': [
    { requires: { secrets: ['cnf'] } },
    (system) => system.requires.secrets,
    ['cnf'],
  ],
}

const interfaces = [...new Set(Object.keys(effects).map((name) => name.split('.')[0] ?? ''))]

describe('every option of defineSystem', () => {
  it('has an effect that this table knows', () => {
    expect(Object.keys(effects).toSorted()).toEqual(declaredOptions('system.ts', interfaces).toSorted())
  })

  it.each(Object.entries(effects))('%s', async (_name, [options, look, expected]) => {
    expect(await look(defineSystem(loose({ ...minimal, ...options })))).toEqual(expected)
    expect(await look(defineSystem(minimal))).not.toEqual(expected)
  })
})

describe('defineSystem', () => {
  it('fills in its defaults', () => {
    const system = defineSystem(minimal)
    expect(system).toMatchObject({
      shutdown: { timeout: 10_000, priority: 0, drainConnections: true },
      dev: { logLevel: 'debug', sourceMaps: true },
      env: {},
      requires: { postgres: false, redis: false, migrations: undefined, secrets: [] },
      hooks: {},
    })
    expect(first(system)).toMatchObject({
      critical: false,
      instances: 1,
      transports: {},
      topology: { expose: false, access: [] },
      health: { interval: 15_000, timeout: 5_000, retries: 3 },
      startupTimeout: 30_000,
      env: {},
      hooks: {},
    })
    expect(systemDefaults.shutdown.timeout).toBe('10s')
  })

  it('is recognised, and so is what defineProcess makes', () => {
    expect(isSystem(defineSystem(minimal))).toBe(true)
    expect(isSystem({ ...defineSystem(minimal) })).toBe(false)
    expect(isSystem(minimal)).toBe(false)
    expect(isProcessDefinition(defineProcess({}))).toBe(true)
    expect(isProcessDefinition({})).toBe(false)
  })

  it('needs options', () => {
    const all: readonly ((options: never) => unknown)[] = [
      defineSystem,
      defineProcess,
      route,
      defineEcosystem,
    ]
    for (const define of all) {
      for (const nothing of [undefined, null, 7]) expect(() => define(nothing as never)).toThrow(TypeError)
    }
  })

  it('reports all problems at once', () => {
    const define = (): unknown =>
      defineSystem(
        loose({
          name: 'Media',
          version: 1,
          proceses: [],
          processes: [{ name: 'http', modul: './http.ts', instances: 0 }],
          shutdown: { timeout: 'long' },
        }),
      )
    expect(define).toThrow(TypeError)
    for (const message of [
      'The system "Media" is not valid:',
      'system: unknown key "proceses". Did you mean "processes"?',
      'name: the name "Media" must start with a lower-case letter',
      'version: 1 must be a text',
      'processes[0]: unknown key "modul". Did you mean "module"?',
      'processes[0].module: a missing value must be a text',
      'processes[0].instances: 0 must be a whole number, at least 1',
      'shutdown.timeout: "long" is not a duration',
    ]) {
      expect(define).toThrow(message)
    }
  })

  const entries = (...change: Partial<ProcessEntry>[]): object => ({
    processes: change.map((each, index) => ({ name: `p${index}`, module, ...each })),
  })

  it.each<readonly [string, object]>([
    ['a system needs at least one process', { processes: [] }],
    ['there are two processes named "a"', entries({ name: 'a' }, { name: 'a' })],
    [
      'names "p2", which is no process of this system. Did you mean "p0"?',
      entries({ topology: { access: ['p2'] } }),
    ],
    ['names itself in topology.access', entries({ topology: { access: ['p0'] } })],
    ['names "p1", which does not expose anything', entries({ topology: { access: ['p1'] } }, {})],
    ['the timeout (20000 ms) is longer than the interval', entries({ health: { timeout: '20s' } })],
    ['processes[0].startupTimeout: must be longer than 0', entries({ startupTimeout: 0 })],
    ['processes[0].health: true must be an object', entries({ health: true as never })],
    ['Did you mean "interval"?', entries({ health: loose({ intervall: 1 }) as never })],
    ['is not a transport', entries({ transports: { http: loose({ port: 3000 }) as never } })],
    [
      'the transport "a" of "p0" and the transport "b" of "p1" both take port 3000',
      entries(
        { transports: { a: recordedTransport('a', { port: 3000 }) } },
        { transports: { b: recordedTransport('b', { port: 3000 }) } },
      ),
    ],
    ['hooks: unknown key "afterCreat". Did you mean "afterCreate"?', { hooks: { afterCreat() {} } }],
    ['processes[0].hooks.afterStart: must be a function', entries({ hooks: { afterStart: 7 as never } })],
    ['setup: must be a function', { setup: {} }],
    ['config.schema: must be a zod schema', { config: {} }],
    ['config.sources[0]: is not a source', { config: { schema, sources: ['config.json'] } }],
    ['Did you mean "sources"?', { config: { schema, source: [] } }],
    ['names migrations but no database', { requires: { migrations: './m' } }],
    ['names "cnf" twice', { requires: { secrets: ['cnf', 'cnf'] } }],
    ['dev.logLevel: "loud" must be one of', { dev: { logLevel: 'loud' } }],
    ['shutdown.priority: 1.5 must be a whole number.', { shutdown: { priority: 1.5 } }],
  ])('explains: %s', (message, change) => {
    expect(() => defineSystem(loose({ ...minimal, ...change }))).toThrow(message)
  })
})

describe('createApp', () => {
  it('takes only what defineSystem has made, and known options', async () => {
    await expect(createApp(loose(minimal) as never)).rejects.toThrow('must be made by defineSystem()')
    const misspelt = { proces: 'http' }
    await expect(createApp(defineSystem(minimal), misspelt as AppOptions)).rejects.toThrow(
      'Did you mean "process"?',
    )
    await expect(createApp(defineSystem(minimal), { instance: -1 })).rejects.toThrow('counted from 0')
  })
})
