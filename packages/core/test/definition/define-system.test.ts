import node from 'node:process'
import { assertRuntime } from '../../src/app/assert-runtime.ts'
import { createSystemLogger } from '../../src/logger.ts'
import { recordedLogger } from '../recorded-logger.ts'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  createApp,
  defineProcess,
  defineSystem,
  env,
  lazy,
  overrides,
  route,
  silentLogger,
  type App,
  type AppOptions,
  type ProcessEntry,
  type SetupContext,
  type System,
  type Logger,
  type SystemOptions,
} from '../../src/index.ts'
import { defineEcosystem } from '../../src/ecosystem.ts'
import { isProcessDefinition, isSystem, systemDefaults, type Links } from '../../src/kit.ts'
import { testUser } from '../../src/testing.ts'
import { declaredOptions, supervisedOptions } from '../declared-options.ts'
import { recordedTransport } from '../fake-transport.ts'
import { incomingCall } from '../incoming-call.ts'

const module = async () => ({ default: defineProcess({}) })
const minimal: SystemOptions = { name: 'media', version: '1.0.0', processes: [{ name: 'http', module }] }
const loose = (options: unknown): SystemOptions => options as SystemOptions
const process = (change: object): object => ({ processes: [{ name: 'http', module, ...change }] })
const first = (system: System) => system.processes[0]

type Start = (options?: AppOptions) => Promise<App>

/** An option that is seen at work in a process of the system: with it, and without it (on top of a base). */
type Effect = readonly [change: object, look: (start: Start) => unknown, expected: unknown, base?: object]

/** An option that only the supervisor acts on: seen here in the definition that it reads, and at work in its own tests. */
interface Supervised {
  readonly change: object
  readonly read: (system: System) => unknown
  readonly expected: unknown
}

const user = testUser()
const bearer = incomingCall({ credentials: { scheme: 'bearer', token: 't' } })
const answer = { input: () => 1, handle: (input: number) => input }
const outcome = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => value,
    (error: { readonly code?: string; readonly message: string }) => error.code ?? error.message,
  )
const ofApp =
  (look: (app: App) => unknown): Effect[1] =>
  async (start) =>
    await look(await start())

const hookNames = [
  'beforeCreate',
  'afterCreate',
  'beforeStart',
  'afterStart',
  'beforeStop',
  'afterStop',
  'onHealthCheck',
]

/** What the process does when its hooks are called, from the start to the end. */
function hookEffect(name: string, where: (hooks: object) => object): Effect {
  const events: string[] = []
  return [
    where({ [name]: () => void events.push(name) }),
    async (start) => {
      events.length = 0
      const app = await start()
      await app.health.report()
      await app.stop()
      return events
    },
    [name],
  ]
}

const schema = z.object({ port: z.number().default(1) })
const fromEnv = { config: { schema, sources: [env('MEDIA_')] } }
const portOf = ofApp((app) => (app.config as { readonly port: number } | undefined)?.port)
const links: Links = {
  expose: () => recordedTransport('link'),
  connect: (sibling) =>
    ({ to: sibling, async [Symbol.asyncDispose]() {} }) as unknown as ReturnType<Links['connect']>,
}
const connected: unknown[] = []
const warmed: string[] = []
const drained: string[] = []
const logged: string[] = []

/** A transport that writes down that it was drained, and one that gives up only when it is told to. */
const draining = process({
  transports: { http: recordedTransport('http', { onDrain: (reason) => void drained.push(reason) }) },
})
const hanging = process({
  transports: {
    http: recordedTransport('http', {
      onDrain: (_reason, signal) =>
        new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
    }),
  },
})

const effects: Readonly<Record<string, Effect>> = {
  'SystemOptions.name': [{ name: 'other' }, ofApp((app) => app.system.name), 'other'],
  'SystemOptions.version': [{ version: '2.0.0' }, ofApp((app) => app.system.version), '2.0.0'],
  'SystemOptions.config.schema': [{ config: { schema } }, ofApp((app) => app.config), { port: 1 }],
  'SystemOptions.config.sources': [
    { config: { schema, sources: [overrides({ port: 2 })] } },
    ofApp((app) => app.config),
    { port: 2 },
  ],
  'SystemOptions.setup': [{ setup: () => ({ a: 1 }) }, ofApp((app) => app.services), { a: 1 }],
  'SystemOptions.auth': [
    { auth: () => ({ authenticate: async () => user }) },
    ofApp((app) => app.pipeline.authorize(bearer).catch(() => undefined)),
    user,
  ],
  'SystemOptions.wrappers': [
    { wrappers: () => [() => Promise.reject(new Error('held'))] },
    ofApp((app) => outcome(app.pipeline.run(incomingCall(), answer))),
    'ERR_CORE_INTERNAL',
  ],
  'SystemOptions.processes': [process({ name: 'jobs' }), ofApp((app) => app.process), 'jobs'],
  ...Object.fromEntries(
    hookNames.map((name) => [`Hooks.${name}`, hookEffect(name, (hooks) => ({ hooks }))] as const),
  ),
  'SystemOptions.hooks': hookEffect('afterCreate', (hooks) => ({ hooks })),
  'SystemOptions.shutdown': [
    { shutdown: { timeout: 5 }, ...hanging },
    async (start) => outcome((await start()).stop()),
    'ERR_CORE_STOP_FAILED',
  ],
  'SystemOptions.logger': [
    { logger: recordedLogger() },
    async (start) => {
      const app = await start({ logger: undefined as never })
      return 'lines' in app.logger
    },
    true,
    { logger: { level: 'silent' } },
  ],
  'SystemOptions.dev': [
    { dev: { logLevel: 'silent' } },
    async (start) => (await startedUnderDev(start)).lines,
    0,
  ],
  'SystemOptions.env': [{ env: { MEDIA_PORT: '2' } }, portOf, 2, fromEnv],
  'ProcessEntry.name': [process({ name: 'jobs' }), ofApp((app) => app.process), 'jobs'],
  'ProcessEntry.module': [
    process({ module: async () => ({ default: defineProcess({ workers: [recordedTransport('w')] }) }) }),
    ofApp((app) => [...app.transports.keys()]),
    ['w'],
  ],
  'ProcessEntry.transports': [
    process({ transports: { http: recordedTransport('http') } }),
    ofApp((app) => [...app.transports.keys()]),
    ['http'],
  ],
  'ProcessEntry.topology': [
    process({ topology: { expose: true } }),
    async (start) => [...(await start({ links })).transports.keys()],
    ['link'],
  ],
  'ProcessEntry.eager': [
    process({ eager: ['model'] }),
    async (start) => {
      warmed.length = 0
      await start()
      return [...warmed]
    },
    ['model'],
    { setup: () => ({ model: lazy(() => warmed.push('model')), other: lazy(() => warmed.push('other')) }) },
  ],
  'ProcessEntry.startupTimeout': [
    process({
      startupTimeout: 5,
      transports: { http: recordedTransport('http', { onStart: () => new Promise(() => {}) }) },
    }),
    (start) => start().then(undefined, (error: Error) => error.message),
    'media/http could not start: the transport "http" failed: it was not done after 5 ms (startupTimeout).',
  ],
  'ProcessEntry.maxConcurrentCalls': [
    process({ maxConcurrentCalls: 1 }),
    async (start) => {
      const { pipeline } = await start()
      const finish = Promise.withResolvers<number>()
      const first = pipeline.run(incomingCall(), { input: () => 1, handle: () => finish.promise })
      const second = await outcome(pipeline.run(incomingCall(), answer))
      finish.resolve(1)
      await first
      return second
    },
    'ERR_CORE_OVERLOADED',
  ],
  'ProcessEntry.env': [
    process({ env: { MEDIA_PORT: '3' } }),
    portOf,
    3,
    { ...fromEnv, env: { MEDIA_PORT: '2' } },
  ],
  'ProcessEntry.hooks': hookEffect('onHealthCheck', (hooks) => process({ hooks })),
  'TopologyOptions.expose': [
    process({ topology: { expose: true } }),
    async (start) => [...(await start({ links })).transports.keys()],
    ['link'],
  ],
  'TopologyOptions.access': [
    {
      setup: ({ sibling }: SetupContext<unknown>) => void connected.push(sibling('images')),
      processes: [
        { name: 'http', module, topology: { access: ['images'] } },
        { name: 'images', module, topology: { expose: true } },
      ],
    },
    async (start) => {
      connected.length = 0
      await start({ links, process: 'http' })
      return connected.length
    },
    1,
  ],
  'ShutdownOptions.propagationDelay': [
    { shutdown: { propagationDelay: 60 } },
    async (start) => {
      const app = await start()
      const begun = performance.now()
      await app.stop()
      return performance.now() - begun >= 55
    },
    true,
  ],
  'ShutdownOptions.timeout': [
    { shutdown: { timeout: 5 }, ...hanging },
    async (start) => outcome((await start()).stop()),
    'ERR_CORE_STOP_FAILED',
  ],
  'ShutdownOptions.drainConnections': [
    { shutdown: { drainConnections: false } },
    async (start) => {
      drained.length = 0
      await (await start()).stop()
      return [...drained]
    },
    [],
    draining,
  ],
  'DevOptions.logLevel': [
    { dev: { logLevel: 'silent' } },
    async (start) => (await startedUnderDev(start)).lines,
    0,
  ],
  'DevOptions.sourceMaps': [
    { dev: { sourceMaps: false } },
    async (start) => (await startedUnderDev(start)).sourceMaps,
    false,
  ],
}

const supervised: Readonly<Record<string, Supervised>> = {
  'SystemOptions.settings.schema': {
    change: { settings: { schema } },
    read: (system) => system.settings,
    expected: { schema, namespace: 'default' },
  },
  'SystemOptions.settings.namespace': {
    change: { settings: { schema, namespace: 'media' } },
    read: (system) => system.settings?.namespace,
    expected: 'media',
  },
  'SystemOptions.requires': {
    change: { requires: { redis: true } },
    read: (system) => system.requires.redis,
    expected: true,
  },
  'ProcessEntry.critical': {
    change: process({ critical: true }),
    read: (system) => first(system)?.critical,
    expected: true,
  },
  'ProcessEntry.instances': {
    change: process({ instances: 3 }),
    read: (system) => first(system)?.instances,
    expected: 3,
  },
  'ProcessEntry.health': {
    change: process({ health: false }),
    read: (system) => first(system)?.health,
    expected: false,
  },
  'ProbeOptions.interval': {
    change: process({ health: { interval: '1m' } }),
    read: (system) => first(system)?.health,
    expected: { interval: 60_000, timeout: 3_000, retries: 3, isTimed: true },
  },
  'ProbeOptions.timeout': {
    change: process({ health: { timeout: '1s' } }),
    read: (system) => first(system)?.health,
    expected: { interval: 8_000, timeout: 1_000, retries: 3, isTimed: true },
  },
  'ProbeOptions.retries': {
    change: process({ health: { retries: 1 } }),
    read: (system) => first(system)?.health,
    expected: { interval: 8_000, timeout: 3_000, retries: 1, isTimed: false },
  },
  'ShutdownOptions.priority': {
    change: { shutdown: { priority: -10 } },
    read: (system) => system.shutdown.priority,
    expected: -10,
  },
  'RequirementOptions.postgres': {
    change: { requires: { postgres: true } },
    read: (system) => system.requires.postgres,
    expected: true,
  },
  'RequirementOptions.redis': {
    change: { requires: { redis: true } },
    read: (system) => system.requires.redis,
    expected: true,
  },
  'RequirementOptions.migrations': {
    change: { requires: { postgres: true, migrations: './migrations' } },
    read: (system) => system.requires.migrations,
    expected: './migrations',
  },
  'RequirementOptions.secrets': {
    change: { requires: { secrets: ['cnf'] } },
    read: (system) => system.requires.secrets,
    expected: ['cnf'],
  },
}

/** How many lines are logged, and whether source maps are on, when the process starts under dev. */
async function startedUnderDev(start: Start): Promise<{ lines: number; sourceMaps: boolean }> {
  const { stdout, sourceMapsEnabled } = node
  const write = stdout.write.bind(stdout)
  logged.length = 0
  node.setSourceMapsEnabled(false)
  stdout.write = (chunk: string | Uint8Array) => logged.push(String(chunk)) > 0
  try {
    await (await start({ dev: true, logger: undefined as never })).stop()
    return { lines: logged.length, sourceMaps: node.sourceMapsEnabled }
  } finally {
    stdout.write = write
    node.setSourceMapsEnabled(sourceMapsEnabled)
  }
}

describe('every option of defineSystem', () => {
  it('has an effect that these tables know', () => {
    const declared = [
      ...declaredOptions('definition/system.ts', 'SystemOptions', ['SetupContext']),
      ...declaredOptions('definition/hooks.ts', 'Hooks'),
    ]
    expect([...Object.keys(effects), ...Object.keys(supervised)].toSorted()).toEqual(declared.toSorted())
  })

  it('that is for the supervisor does something there, which has a table of its own', () => {
    const missing = Object.keys(supervised).filter((name) => !supervisedOptions().includes(name))
    expect(missing).toEqual([])
  })

  it.each(Object.entries(effects))('%s', async (_name, [change, look, expected, base]) => {
    const seen = async (options: object): Promise<unknown> => {
      const system = defineSystem(loose({ ...minimal, ...base, ...options }))
      await using started = new AsyncDisposableStack()
      return await look(async (more = {}) => {
        const app = await createApp(system, { logger: silentLogger, env: {}, ...more })
        started.defer(() => app.stop().catch(() => {}))
        return app
      })
    }
    expect(await seen(change)).toEqual(expected)
    expect(await seen({})).not.toEqual(expected)
  })

  it.each(Object.entries(supervised))('%s is in the definition', (_name, { change, read, expected }) => {
    expect(read(defineSystem(loose({ ...minimal, ...change })))).toEqual(expected)
    expect(read(defineSystem(minimal))).not.toEqual(expected)
  })
})

describe('defineSystem', () => {
  it('fills in its defaults', () => {
    const system = defineSystem(minimal)
    expect(system).toMatchObject({
      shutdown: { propagationDelay: 0, timeout: 10_000, priority: 0, drainConnections: true },
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
      health: { interval: 8_000, timeout: 3_000, retries: 3 },
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
      '- unknown key "proceses". Did you mean "processes"?',
      'name: "Media" is not a name: a lower-case letter, then',
      'version: 1 is not a text',
      'processes[0]: unknown key "modul". Did you mean "module"?',
      'processes[0].module: is missing. Give a text that is not empty or a function.',
      'processes[0].instances: 0 is not a whole number of at least 1.',
      'shutdown.timeout: "long" is not a duration',
    ]) {
      expect(define).toThrow(message)
    }
  })

  const entries = (...change: Partial<ProcessEntry>[]): object => ({
    processes: change.map((each, index) => ({ name: `p${index}`, module, ...each })),
  })

  it.each<readonly [string, object]>([
    ['processes: has 0 of at least 1', { processes: [] }],
    ['processes: holds "a" twice.', entries({ name: 'a' }, { name: 'a' })],
    [
      '"p0" has topology.access to "p2", which is no process of this system. Did you mean "p0"?',
      entries({ topology: { access: ['p2'] } }),
    ],
    ['names itself in topology.access', entries({ topology: { access: ['p0'] } })],
    ['to "p1", which does not expose anything', entries({ topology: { access: ['p1'] } }, {})],
    ['the timeout (20000 ms) is longer than the interval', entries({ health: { timeout: '20s' } })],
    ['startupTimeout: "30d" is longer than a timer can wait', entries({ startupTimeout: '30d' })],
    ['shutdown.timeout: "30d" is longer than a timer can wait', { shutdown: { timeout: '30d' } }],
    ['processes[0].startupTimeout: 0 ms is too small. Give 1 ms or more.', entries({ startupTimeout: 0 })],
    ['processes[0].health: a boolean is not an object', entries({ health: true as never })],
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
    ['processes[0].hooks.afterStart: 7 is not a function.', entries({ hooks: { afterStart: 7 as never } })],
    ['setup: an object is not a function.', { setup: {} }],
    ['config.schema: is missing. Give a Standard Schema.', { config: {} }],
    [
      'config.sources[0]: a text is not a source. Use file(), env()',
      { config: { schema, sources: ['config.json'] } },
    ],
    ['Did you mean "sources"?', { config: { schema, source: [] } }],
    ['names migrations but no database', { requires: { migrations: './m' } }],
    ['requires.secrets: holds "cnf" twice.', { requires: { secrets: ['cnf', 'cnf'] } }],
    ["dev.logLevel: \"loud\" is not one of 'trace', 'debug'", { dev: { logLevel: 'loud' } }],
    ['shutdown.priority: 1.5 is not a whole number.', { shutdown: { priority: 1.5 } }],
  ])('explains: %s', (message, change) => {
    expect(() => defineSystem(loose({ ...minimal, ...change }))).toThrow(message)
  })
})

describe('the logger of a system', () => {
  const logged = async (logger: SystemOptions['logger'], fields = {}): Promise<Logger> =>
    createSystemLogger(defineSystem({ ...minimal, ...(logger === undefined ? {} : { logger }) }), { fields })

  it('is a child of the one that it is given', async () => {
    const logger = recordedLogger()
    ;(await logged(logger, { process: 'http' })).info({ a: 1 }, 'x')
    expect(logger.lines).toMatchObject([{ fields: { process: 'http', a: 1 } }])
  })

  it('is made of the options that it is given', async () => {
    const lines: string[] = []
    const destination = { write: (line: string) => void lines.push(line) }
    const mixin = () => ({ trace: 't-1' })
    const logger = await logged(
      { destination, level: 'debug', redact: ['user.email'], mixin },
      { process: 'http' },
    )
    logger.debug({ user: { email: 'ada@example.com' } }, 'x')
    expect(JSON.parse(lines[0] ?? '')).toMatchObject({
      process: 'http',
      trace: 't-1',
      user: { email: '[redacted]' },
    })
  })

  it('refuses options that it does not know', () => {
    expect(() => defineSystem(loose({ ...minimal, logger: { levle: 'debug' } }))).toThrow('logger: ')
  })
})

describe('assertRuntime', () => {
  it('refuses an old Node in one line', () => {
    expect(() => assertRuntime('20.20.2')).toThrow(/^Quintet needs Node 24 or newer; this is 20\.20\.2\.$/)
    assertRuntime('24.0.0')
    assertRuntime()
  })
})

describe('createApp', () => {
  it('takes only what defineSystem has made, and known options', async () => {
    await expect(createApp(loose(minimal) as never)).rejects.toThrow('must be made by defineSystem()')
    const misspelt = { proces: 'http' }
    await expect(createApp(defineSystem(minimal), misspelt as AppOptions)).rejects.toThrow(
      'Did you mean "process"?',
    )
    await expect(createApp(defineSystem(minimal), { instance: -1 })).rejects.toThrow('at least 0')
  })
})
