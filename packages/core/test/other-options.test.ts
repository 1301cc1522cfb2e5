import { readFileSync } from 'node:fs'
import { mkdtemp, readFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  callProcedure,
  createHealthChecks,
  createPipeline,
  procedureOperation,
  routeOperation,
  type HealthChecksOptions,
  type Operation,
  type PipelineOptions,
} from '../src/kit.ts'
import {
  createApp,
  defineProcess,
  defineSystem,
  env,
  procedure,
  route,
  service,
  silentLogger,
  type App,
  type AppOptions,
  type AuthManager,
  type HealthCheck,
  type ProcedureCall,
  type ProcessOptions,
} from '../src/index.ts'
import { createLogger, type LoggerOptions } from '../src/logger.ts'
import { createTestHost, createTokenAuth, testUser } from '../src/testing.ts'
import { declaredOptions } from './declared-options.ts'
import { recordedTransport } from './fake-transport.ts'
import { incomingCall } from './incoming-call.ts'
import { recordedLogger } from './recorded-logger.ts'

/** Looks at what is made without and with an option, and what is seen with it. */
type Effect = readonly [look: (isSet: boolean) => unknown, expected: unknown]

async function withProcess<Result>(
  options: ProcessOptions,
  look: (app: App) => Promise<Result> | Result,
  start: AppOptions = {},
): Promise<Result> {
  const system = defineSystem({
    name: 'media',
    version: '1.0.0',
    config: { schema: z.object({ port: z.number().default(1) }), sources: [env('MEDIA_')] },
    dev: { logLevel: 'silent', sourceMaps: false },
    setup: ({ process }) => process.instance,
    processes: [
      {
        name: 'http',
        module: async () => ({ default: defineProcess(options) }),
        transports: { http: recordedTransport('http', { address: '127.0.0.1' }) },
        topology: { expose: true },
      },
    ],
  })
  await using app = await createApp(system, { logger: silentLogger, env: {}, ...start })
  return await look(app)
}

const hello = procedure({ access: 'public' }, () => 'hello')
const ping = route({ method: 'GET', pattern: '/ping', access: 'public', handler: () => null })
const answer = { input: () => 1, handle: (input: number) => input }
const outcome = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    (value) => value,
    (error: { readonly code?: string }) => error.code,
  )

const processEffect = (options: ProcessOptions, look: (app: App) => unknown, expected: unknown): Effect => [
  (isSet) => withProcess(isSet ? options : {}, look),
  expected,
]
const appEffect = (options: AppOptions, look: (app: App) => unknown, expected: unknown): Effect => [
  (isSet) => outcome(withProcess({}, look, isSet ? options : {})),
  expected,
]
/** What a caller of a procedure gets; anybody may call it. */
const procedureEffect = (
  options: object,
  expected: unknown,
  handler: (call: ProcedureCall<never, unknown>) => unknown = () => 'answered',
): Effect => [
  async (isSet) => {
    const made = procedure({ access: 'public', ...(isSet ? options : {}) }, handler as never)
    await using host = createTestHost({ services: [service('objects', { list: made })] })
    return await outcome(
      callProcedure(
        host,
        made,
        incomingCall({ operation: procedureOperation('objects.list', made) }),
        () => ({ a: '1' }),
      ),
    )
  },
  expected,
]
/** How fresh the session must be, as the auth manager is told. */
const freshnessEffect = (operation: (isSet: boolean) => Operation): Effect => [
  async (isSet) => {
    const told: unknown[] = []
    const auth: AuthManager = {
      async authenticate(_credentials, { freshness }) {
        told.push(freshness)
        return testUser()
      },
    }
    const pipeline = createPipeline({ logger: silentLogger, auth })
    await pipeline.run(
      incomingCall({ operation: operation(isSet), credentials: { scheme: 'bearer', token: 't' } }),
      answer,
    )
    return told
  },
  ['strict'],
]
const pipelineEffect = (
  options: Partial<PipelineOptions>,
  look: (pipeline: ReturnType<typeof createPipeline>) => unknown,
  expected: unknown,
): Effect => [(isSet) => look(createPipeline({ logger: silentLogger, ...(isSet ? options : {}) })), expected]
const healthEffect = (options: HealthChecksOptions, expected: string): Effect => [
  async (isSet) => (await createHealthChecks(isSet ? options : {}).report()).status,
  expected,
]
const checkEffect = (change: Partial<HealthCheck>, expected: unknown): Effect => [
  async (isSet) => {
    const check: HealthCheck = {
      name: 'db',
      check: () => Promise.reject(new Error('down')),
      ...(isSet ? change : {}),
    }
    const { checks } = await createHealthChecks({ checks: [check] }).report()
    return Object.entries(checks).map(([name, { status, detail }]) => `${name} ${status} ${detail}`)
  },
  expected,
]
const loggerEffect = (options: LoggerOptions, expected: unknown): Effect => [
  (isSet) => {
    const lines: string[] = []
    const destination = { write: (line: string) => void lines.push(line) }
    createLogger({ destination, ...(isSet ? options : {}) }).debug({}, 'x')
    return lines.map((line) => (JSON.parse(line) as { system?: string }).system ?? 'line')
  },
  expected,
]

const documented = [
  'openapi/document.test.ts',
  'describes every procedure and route, with its access rule and the schemas of each library',
] as const
const streamed = ['socket/websocket.test.ts', 'calls, streams and resumes with a typed client'] as const
const handled = recordedLogger()
const elsewhere: string[] = []
const seen: string[] = []
const late = { input: () => 0, handle: () => new Promise<never>(() => {}) }
const link = recordedTransport('link')

const effects: Readonly<Record<string, Effect>> = {
  'ProcessOptions.services': processEffect(
    { services: [service('greetings', { hello })] },
    (app) => [...app.procedures.keys()],
    ['greetings.hello'],
  ),
  'ProcessOptions.routes': [(isSet) => defineProcess(isSet ? { routes: [ping] } : {}).routes, [ping]],
  'ProcessOptions.workers': processEffect(
    { workers: () => [recordedTransport('jobs')] },
    (app) => [...app.transports.keys()],
    ['http', 'jobs'],
  ),
  'ProcessOptions.hooks': processEffect(
    { hooks: { onHealthCheck: () => ({ status: 'warn', checks: {} }) } },
    async (app) => (await app.health.report()).status,
    'warn',
  ),
  'AppOptions.process': appEffect({ process: 'jobs' }, () => 'started', undefined),
  'AppOptions.instance': appEffect({ instance: 2 }, (app) => [app.instance, app.services], [2, 2]),
  'AppOptions.baseUrl': [
    (isSet) => {
      const system = defineSystem({
        name: 'media',
        version: '1.0.0',
        processes: [{ name: 'http', module: './fixtures/process.ts' }],
      })
      const options = { logger: silentLogger, ...(isSet ? { baseUrl: import.meta.dirname } : {}) }
      return outcome(createApp(system, options).then((app) => app.stop().then(() => 'started')))
    },
    'started',
  ],
  'AppOptions.logger': appEffect({ logger: handled }, () => handled.lines.at(-1)?.message, 'started'),
  'AppOptions.env': appEffect({ env: { MEDIA_PORT: '2' } }, (app) => app.config, { port: 2 }),
  'AppOptions.ports': appEffect(
    { ports: { http: 7 } },
    (app) => app.transports.get('http')?.url,
    'test://http:7',
  ),
  'AppOptions.sockets': appEffect(
    { sockets: { http: 9 } },
    (app) => app.transports.get('http')?.url,
    'test://http:socket 9',
  ),
  'AppOptions.links': appEffect(
    { links: { expose: () => link, connect: () => Promise.reject(new Error('unused')) as never } },
    (app) => [...app.transports.keys()],
    ['link', 'http'],
  ),
  'AppOptions.dev': [
    async (isSet) => {
      const system = defineSystem({
        name: 'media',
        version: '1.0.0',
        dev: { logLevel: 'silent' },
        processes: [{ name: 'http', module: async () => ({ default: defineProcess({}) }) }],
      })
      const before = process.sourceMapsEnabled
      process.setSourceMapsEnabled(false)
      const app = await createApp(system, isSet ? { dev: true } : { logger: silentLogger })
      await app.stop()
      const enabled = process.sourceMapsEnabled
      process.setSourceMapsEnabled(before)
      return enabled
    },
    true,
  ],
  'AppOptions.startupTimeout': [
    (isSet) => {
      const system = defineSystem({
        name: 'media',
        version: '1.0.0',
        processes: [
          {
            name: 'http',
            module: async () => ({ default: defineProcess({}) }),
            startupTimeout: 1,
            hooks: { beforeStart: () => new Promise((resolve) => setTimeout(resolve, 50)) },
          },
        ],
      })
      const options = { logger: silentLogger, ...(isSet ? { startupTimeout: '10s' as const } : {}) }
      return outcome(createApp(system, options).then((app) => app.stop().then(() => 'started')))
    },
    'started',
  ],
  'AppOptions.signal': appEffect(
    { signal: AbortSignal.abort(new Error('no')) },
    () => 'started',
    'ERR_CORE_START_FAILED',
  ),
  'ProcedureOptions.access': procedureEffect({ access: 'authenticated' }, 'ERR_CORE_UNAUTHENTICATED'),
  'ProcedureOptions.timeout': procedureEffect(
    { timeout: 5 },
    'ERR_CORE_DEADLINE_EXCEEDED',
    ({ signal }) =>
      new Promise((resolve) => {
        const timer = setTimeout(resolve, 50, 'answered')
        signal.addEventListener('abort', () => clearTimeout(timer), { once: true })
      }),
  ),
  'ProcedureOptions.freshness': freshnessEffect((isSet) =>
    procedureOperation(
      'objects.list',
      procedure({ access: 'public', ...(isSet && { freshness: 'strict' }) }, () => 1),
    ),
  ),
  'CallProcedureOptions.input': procedureEffect(
    { input: z.object({ a: z.coerce.number() }) },
    { a: 1 },
    ({ input }) => input,
  ),
  'CallProcedureOptions.output': procedureEffect({ output: z.number() }, 'ERR_CORE_INTERNAL'),
  'RouteOptions.freshness': freshnessEffect((isSet) =>
    routeOperation(
      route({
        method: 'GET',
        pattern: '/',
        access: 'public',
        handler: () => null,
        ...(isSet && { freshness: 'strict' }),
      }),
      0,
    ),
  ),
  'PipelineOptions.logger': pipelineEffect(
    { logger: { ...silentLogger, info: (_fields, message = '') => void elsewhere.push(message) } },
    async (pipeline) => {
      elsewhere.length = 0
      await outcome(pipeline.run(incomingCall({ access: 'system' }), answer))
      return elsewhere
    },
    ['objects.list needs a signed-in caller.'],
  ),
  'PipelineOptions.auth': pipelineEffect(
    { auth: createTokenAuth({ t: testUser() }) },
    (pipeline) =>
      outcome(
        pipeline.run(
          incomingCall({ access: 'authenticated', credentials: { scheme: 'bearer', token: 't' } }),
          answer,
        ),
      ),
    1,
  ),
  'PipelineOptions.wrappers': pipelineEffect(
    { wrappers: [() => Promise.reject(new Error('no'))] },
    (pipeline) => outcome(pipeline.run(incomingCall(), answer)),
    'ERR_CORE_INTERNAL',
  ),
  'PipelineOptions.observers': pipelineEffect(
    { observers: [{ onSettled: (call) => void seen.push(call.outcome) }] },
    async (pipeline) => {
      seen.length = 0
      await pipeline.run(incomingCall(), answer)
      return seen
    },
    ['ok'],
  ),
  'PipelineOptions.maxConcurrentCalls': pipelineEffect(
    { maxConcurrentCalls: 1 },
    (pipeline) => {
      void pipeline.run(incomingCall(), late)
      return outcome(pipeline.run(incomingCall(), answer))
    },
    'ERR_CORE_OVERLOADED',
  ),
  'PipelineOptions.clock': pipelineEffect(
    { clock: { now: () => Number.MAX_SAFE_INTEGER, monotonic: () => 0 } },
    (pipeline) => outcome(pipeline.run(incomingCall({ deadline: Date.now() + 60_000 }), answer)),
    'ERR_CORE_DEADLINE_EXCEEDED',
  ),
  'HealthChecksOptions.checks': healthEffect(
    { checks: [{ name: 'db', check: () => Promise.reject(new Error()) }] },
    'fail',
  ),
  'HealthChecksOptions.onReport': healthEffect({ onReport: () => ({ status: 'warn', checks: {} }) }, 'warn'),
  'HealthChecksOptions.clock': [
    async (isSet) => {
      let now = 0
      const health = createHealthChecks(
        isSet ? { clock: { now: () => now, monotonic: () => (now += 1_000) } } : {},
      )
      let runs = 0
      health.add({ name: 'counted', check: async () => void runs++ })
      await health.report()
      await health.report()
      return runs
    },
    2,
  ],
  'HealthCheck.name': checkEffect({ name: 'cache' }, ['cache fail down']),
  'HealthCheck.check': checkEffect({ check: async () => 'ready' }, ['db pass ready']),
  'HealthCheck.critical': checkEffect({ critical: false }, ['db warn down']),
  'HealthCheck.timeout': checkEffect({ timeout: 5, check: () => new Promise(() => {}) }, [
    'db fail no answer within 5 ms',
  ]),
  'LoggerOptions.level': loggerEffect({ level: 'debug' }, ['line']),
  'LoggerOptions.fields': loggerEffect({ level: 'debug', fields: { system: 'media' } }, ['media']),
  'LoggerOptions.redact': [
    (isSet) => {
      const lines: string[] = []
      const destination = { write: (line: string) => void lines.push(line) }
      createLogger({ destination, ...(isSet ? { redact: ['email'] } : {}) }).info({ email: 'a@b.c' }, 'x')
      return (JSON.parse(lines[0] ?? '') as { email: string }).email
    },
    '[redacted]',
  ],
  'LoggerOptions.mixin': loggerEffect({ level: 'debug', mixin: () => ({ system: 'mixed in' }) }, [
    'mixed in',
  ]),
  'LoggerOptions.transport': [
    async (isSet) => {
      const path = join(await mkdtemp(join(tmpdir(), 'quintet-log-')), 'log')
      const transport = { target: 'pino/file', options: { destination: path } }
      createLogger(isSet ? { transport } : { level: 'silent' }).info({}, 'x')
      const text = async (): Promise<string> => await readFile(path, 'utf8').catch(() => '')
      for (let tries = 0; isSet && tries < 400 && (await text()) === ''; tries++) await delay(25)
      return (await text()).includes('"msg":"x"')
    },
    true,
  ],
  'LoggerOptions.destination': [
    (isSet) => {
      const lines: string[] = []
      createLogger(
        isSet ? { destination: { write: () => void lines.push('line') } } : { level: 'silent' },
      ).info({}, 'x')
      return lines
    },
    ['line'],
  ],
}

const typedRoute = [
  'http/typed-routes.test.ts',
  'gets what the schemas make of its parameters, query, headers and body',
] as const

/** Options that a surface acts on, and the test that shows it there. */
const surfaces: Readonly<Record<string, readonly [file: string, test: string]>> = {
  'ProcedureOptions.description': documented,
  'ProcedureOptions.maxInputSize': ['http/rpc.test.ts', 'holds each call to the size of its procedure'],
  'StreamProcedureOptions.input': streamed,
  'StreamProcedureOptions.stream': streamed,
  'RouteOptions.method': [
    'http/routes.test.ts',
    'is asked for by its own method; others get 405 with Allow, and HEAD goes to GET',
  ],
  'RouteOptions.pattern': [
    'http/routes.test.ts',
    'gets its parameters decoded, the rest of a wildcard, and the caller',
  ],
  'RouteOptions.access': ['integration/conformance.test.ts', 'stands $name'],
  'RouteOptions.description': documented,
  'RouteOptions.maxRequestSize': [
    'http/routes.test.ts',
    'holds a streamed body to its own limit, or to that of the transport',
  ],
  'RouteOptions.timeout': [
    'http/routes.test.ts',
    'that does not answer in time gives 504, by its own timeout or that of the transport',
  ],
  'RouteOptions.params': typedRoute,
  'RouteOptions.query': typedRoute,
  'RouteOptions.headers': typedRoute,
  'RouteOptions.body': typedRoute,
  'RouteOptions.response': [
    'http/typed-routes.test.ts',
    'sends the value that it returns as its schema makes it, and fails for one that the schema refuses',
  ],
  'ProcedureOptions.safe': ['http/safe-calls.test.ts', 'never runs a procedure or a stream that is not'],
  'StreamProcedureOptions.resumable': [
    'streams/late-streams.test.ts',
    'that does not say that it can be resumed ends with the error; iterated later: %s',
  ],
  'AppOptions.standby': [
    'integration/standby.integration.test.ts',
    'answers on a private socket, and on its own from when it takes over',
  ],
  'RouteOptions.handler': [
    'http/routes.test.ts',
    'that answers null leaves the request to the next one, and the last to 404',
  ],
}

const declared = [
  ...declaredOptions('definition/process.ts', 'ProcessOptions'),
  ...declaredOptions('app/app-options.ts', 'AppOptions'),
  ...declaredOptions('procedures/procedure.ts', 'ProcedureOptions'),
  ...declaredOptions('procedures/define-procedure.ts', 'CallProcedureOptions'),
  ...declaredOptions('procedures/define-procedure.ts', 'StreamProcedureOptions'),
  ...declaredOptions('procedures/route.ts', 'RouteOptions', ['RouteContext']),
  ...declaredOptions('pipeline/pipeline.ts', 'PipelineOptions'),
  ...declaredOptions('lifecycle/create-health-checks.ts', 'HealthChecksOptions'),
  ...declaredOptions('lifecycle/health-checks.ts', 'HealthCheck'),
  ...declaredOptions('pino/logger-spec.ts', 'LoggerOptions'),
]

describe('every other option', () => {
  it('has an effect that this table knows', () => {
    expect([...Object.keys(effects), ...Object.keys(surfaces)].toSorted()).toEqual(declared.toSorted())
  })

  it.each(Object.entries(surfaces))('%s is shown at work by a test of the server', (_name, [file, test]) => {
    const source = readFileSync(new URL(`../../server/test/${file}`, import.meta.url), 'utf8')
    expect(source).toContain(`'${test}'`)
  })

  it.each(Object.entries(effects))('%s', async (_name, [look, expected]) => {
    expect(await look(false)).not.toEqual(expected)
    expect(await look(true)).toEqual(expected)
  })
})
