import { join } from 'node:path'
import { getEventListeners } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  createApp,
  currentInvocation,
  defineProcess,
  defineSystem,
  env,
  isQuintetError,
  overrides,
  procedure,
  service,
  silentLogger,
  type App,
  type AppOptions,
  type Duration,
  type Hooks,
  type Logger,
  type Principal,
  type ProcessOptions,
  type SystemOptions,
} from '../../src/index.ts'
import { noCredentials, type Links } from '../../src/kit.ts'
import { createTokenAuth, testUser } from '../../src/testing.ts'
import { recordedTransport } from '../fake-transport.ts'
import { incomingCall } from '../incoming-call.ts'

const objects = service('objects', {
  list: procedure({ access: 'authenticated' }, ({ principal }) => [principal.userId]),
})

function system<Services = unknown>(options: Partial<SystemOptions<unknown, Services>> = {}) {
  return defineSystem<unknown, Services>({
    name: 'media',
    version: '1.0.0',
    processes: [{ name: 'http', module: async () => ({ default: defineProcess({ services: [objects] }) }) }],
    ...options,
  })
}

function start<Config, Services>(
  definition: Parameters<typeof createApp<Config, Services>>[0],
  options: AppOptions = {},
): Promise<App<Services>> {
  return createApp<Config, Services>(definition, { logger: silentLogger, env: {}, ...options })
}

async function failure(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise
  } catch (error) {
    if (error instanceof Error) return error
  }
  throw new Error('it did not fail')
}

describe('createApp', () => {
  it('goes through the phases in order, and back in reverse', async () => {
    const events: string[] = []
    const hooks = (owner: string): Hooks => {
      const note = (name: string) => () => void events.push(`${owner} ${name}`)
      return {
        beforeCreate: note('beforeCreate'),
        afterCreate: note('afterCreate'),
        beforeStart: note('beforeStart'),
        afterStart: note('afterStart'),
        beforeStop: note('beforeStop'),
        afterStop: note('afterStop'),
      }
    }
    const app = await start(
      system({
        hooks: hooks('system'),
        setup: ({ lifecycle }) => {
          events.push('setup')
          lifecycle.onStop('first', () => void events.push('release first'))
          lifecycle.onStop('second', () => void events.push('release second'))
        },
        wrappers: () => {
          events.push('wrappers')
          return []
        },
        processes: [
          {
            name: 'http',
            module: async () => ({
              default: defineProcess({
                workers: [recordedTransport('jobs', { events })],
                hooks: hooks('module'),
              }),
            }),
            transports: { http: recordedTransport('http', { events }) },
            hooks: hooks('process'),
          },
        ],
      }),
    )
    expect(app.lifecycle.phase).toBe('running')
    expect(app.health.started).toBe(true)
    expect(events).toEqual([
      'system beforeCreate',
      'process beforeCreate',
      'module beforeCreate',
      'setup',
      'wrappers',
      'system afterCreate',
      'process afterCreate',
      'module afterCreate',
      'system beforeStart',
      'process beforeStart',
      'module beforeStart',
      'http start',
      'jobs start',
      'system afterStart',
      'process afterStart',
      'module afterStart',
    ])
    events.length = 0
    await Promise.all([app.stop('deployment'), app.stop('restart')])
    expect(events).toEqual([
      'module beforeStop',
      'process beforeStop',
      'system beforeStop',
      'jobs drain deployment',
      'http drain deployment',
      'jobs close',
      'http close',
      'release second',
      'release first',
      'module afterStop',
      'process afterStop',
      'system afterStop',
    ])
    expect(app.lifecycle.phase).toBe('stopped')
  })

  it('is not ready before afterStart has run, nor once it stops', async () => {
    const seen: boolean[] = []
    const look = (app: App) => void seen.push(app.health.started, app.health.accepting)
    const app = await start(system({ hooks: { afterStart: look, beforeStop: look } }))
    expect(app.health.accepting).toBe(true)
    await app.stop()
    expect(seen).toEqual([false, false, true, false])
  })

  it.each(['beforeCreate', 'afterCreate', 'beforeStart', 'afterStart'] as const)(
    'releases what exists and names the hook when %s rejects',
    async (name) => {
      const events: string[] = []
      const definition = system({
        setup: ({ lifecycle }) => lifecycle.onStop('pool', () => void events.push('release pool')),
        hooks: { [name]: () => Promise.reject(new Error('no')) },
        processes: [
          {
            name: 'http',
            module: async () => ({ default: defineProcess({}) }),
            transports: { http: recordedTransport('http', { events }) },
          },
        ],
      })
      const error = await failure(start(definition))
      expect(error.message).toBe(`media/http could not start: ${name} failed: no`)
      expect(error).toMatchObject({ code: 'ERR_CORE_START_FAILED', details: { step: name } })
      const expected = {
        beforeCreate: [],
        afterCreate: ['release pool'],
        beforeStart: ['release pool'],
        afterStart: ['http start', 'http close', 'release pool'],
      }
      expect(events).toEqual(expected[name])
    },
  )

  it('closes the transports that have started when one does not', async () => {
    const events: string[] = []
    const definition = system({
      processes: [
        {
          name: 'http',
          module: async () => ({ default: defineProcess({}) }),
          transports: {
            first: recordedTransport('first', { events }),
            second: recordedTransport('second', {
              events,
              onStart: () => Promise.reject(new Error('EADDRINUSE')),
            }),
          },
        },
      ],
    })
    expect((await failure(start(definition))).message).toContain('the transport "second" failed: EADDRINUSE')
    expect(events).toEqual(['first start', 'second start', 'first close'])
  })

  it('stands by: what can listens in private, and the rest is started when it takes over', async () => {
    const events: string[] = []
    const http = recordedTransport('http', { events, standby: true })
    const plain = recordedTransport('plain', { events })
    const worker = recordedTransport('worker', { events })
    const definition = system({
      processes: [
        {
          name: 'http',
          module: async () => ({ default: defineProcess({ workers: () => [worker] }) }),
          transports: { http, plain },
        },
      ],
      hooks: { afterStart: () => void events.push('afterStart') },
    })
    const app = await start(definition, { standby: '/run/next' })
    expect(events).toEqual(['http start at /run/next.http.sock'])
    expect((await app.health.report()).status).toBe('pass')
    await Promise.all([app.takeOver(), app.takeOver()])
    expect(events.slice(1)).toEqual(['plain start', 'worker start', 'http takes over', 'afterStart'])
    await app.stop()

    events.length = 0
    const usual = await start(definition)
    await usual.takeOver()
    expect(events).toEqual(['http start', 'plain start', 'worker start', 'afterStart'])
    await usual.stop()
  })

  it('gives way: it stays ready and waits for its clients, and what cannot give way is drained', async () => {
    const events: string[] = []
    const gone = Promise.withResolvers<void>()
    const stubborn = new Promise<void>((resolve) => setTimeout(resolve, 60_000).unref())
    const http = recordedTransport('http', { events, onGiveWay: () => gone.promise })
    const worker = recordedTransport('worker', { events, onDrain: () => gone.promise })
    const definition = system({
      processes: [
        {
          name: 'http',
          module: async () => ({ default: defineProcess({}) }),
          transports: { http, worker },
        },
      ],
      shutdown: { propagationDelay: '10s' },
    })
    const app = await start(definition)
    const given = app.giveWay()
    expect(app.giveWay()).toBe(given)
    expect(events.slice(2)).toEqual(['http gives way deployment', 'worker drain deployment'])
    expect((await app.health.report()).status).toBe('pass')
    expect(await Promise.race([given, Promise.resolve('it waits')])).toBe('it waits')
    gone.resolve()
    await given
    // Its address is ready all the time: there is nothing to propagate.
    await app.stop('deployment')
    expect(events.slice(4)).toEqual([
      ...['worker drain deployment', 'http drain deployment', 'worker close', 'http close'],
    ])

    let signal: AbortSignal | undefined
    const slow = recordedTransport('slow', {
      onGiveWay(given) {
        signal = given
        return stubborn
      },
      onDrain: () => stubborn,
    })
    const hurried = await start(
      system({
        processes: [
          {
            name: 'http',
            module: async () => ({ default: defineProcess({}) }),
            transports: { slow },
          },
        ],
        shutdown: { timeout: 50 },
      }),
    )
    void hurried.giveWay()
    await expect(hurried.stop()).rejects.toThrow('draining the transport "slow"')
    expect(signal?.aborted).toBe(true)
  })

  it('refuses a socket for a transport that takes none, or that is not there', async () => {
    const definition = system({
      processes: [
        {
          name: 'http',
          module: async () => ({ default: defineProcess({}) }),
          transports: { http: recordedTransport('http', { port: 3002 }) },
        },
      ],
    })
    await expect(start(definition, { sockets: { http: 3 } })).rejects.toThrow(
      'createApp.sockets.http: this transport takes no socket. Give it a port.',
    )
    await expect(start(definition, { sockets: { htp: 3 } })).rejects.toThrow(
      'createApp.sockets: unknown key "htp". Did you mean "http"?',
    )
  })

  it('takes a startupTimeout from outside in place of that of the process entry', async () => {
    const slow = system({
      processes: [
        {
          name: 'http',
          module: async () => ({ default: defineProcess({}) }),
          startupTimeout: 30,
          hooks: { beforeStart: () => delay(60) },
        },
      ],
    })
    await expect(start(slow)).rejects.toThrow('after 30 ms (startupTimeout)')
    const app = await start(slow, { startupTimeout: '10s' })
    await app.stop()
    await expect(start(slow, { startupTimeout: '1 fortnight' as Duration })).rejects.toThrow(
      'createApp.startupTimeout',
    )
  })

  it.each([
    [{ process: 7 }, 'createApp.process: 7 is not a text'],
    [{ instance: -1 }, 'createApp.instance: -1 is not a whole number of at least 0'],
    [{ ports: { http: '80' } }, 'createApp.ports.http: "80" is not a port'],
    [{ logger: {} }, 'createApp.logger: is not a logger: it has no debug()'],
    [{ links: {} }, 'createApp.links: is not links'],
    [{ dev: 'yes' }, 'createApp.dev'],
    [{ env: 'A=b' }, 'createApp.env'],
    [{ signal: {} }, 'createApp.signal'],
    [{ proces: 'http' }, 'Did you mean "process"?'],
  ])('refuses %j', async (options, message) => {
    const definition = system({
      processes: [{ name: 'http', module: async () => ({ default: defineProcess({}) }) }],
    })
    await expect(start(definition, options as AppOptions)).rejects.toThrow(message)
  })

  it.each([
    [{ services: {} }, 'defineProcess.services'],
    [{ services: [1] }, 'defineProcess.services[0]: a number is not a service'],
    [{ routes: [{}] }, 'defineProcess.routes[0]: is not a route made by route()'],
    [{ workers: [{}] }, 'defineProcess.workers'],
    [{ hooks: { afterStart: 1 } }, 'defineProcess.hooks.afterStart'],
    [{ service: [] }, 'Did you mean "services"?'],
  ])('is not given a process of %j', (options, message) => {
    expect(() => defineProcess(options as never)).toThrow(message)
  })

  it('does not run an app that a hook has stopped, nor one whose logger throws', async () => {
    const failed = { code: 'ERR_CORE_START_FAILED' }
    const stopped = system({
      processes: [
        {
          name: 'http',
          module: async () => ({ default: defineProcess({}) }),
          hooks: { afterStart: (app) => app.stop() },
        },
      ],
    })
    await expect(start(stopped)).rejects.toMatchObject(failed)
    const plain = system({
      processes: [{ name: 'http', module: async () => ({ default: defineProcess({}) }) }],
    })
    const logger = {
      ...silentLogger,
      info: () => {
        throw new Error('The disk is full.')
      },
    }
    await expect(start(plain, { logger })).rejects.toMatchObject(failed)
  })

  it('gives up at startupTimeout, names the step, aborts its signal, and closes what comes late', async () => {
    const events: string[] = []
    const slow = Promise.withResolvers<void>()
    const closed = Promise.withResolvers<void>()
    let setupSignal: AbortSignal | undefined
    const definition = system({
      setup: ({ signal }) => void (setupSignal = signal),
      processes: [
        {
          name: 'http',
          module: async () => ({ default: defineProcess({}) }),
          startupTimeout: 30,
          transports: {
            http: recordedTransport('http', {
              events,
              onStart: () => slow.promise,
              onClose: () => closed.resolve(),
            }),
          },
        },
      ],
    })
    const error = await failure(start(definition))
    expect(error.message).toBe(
      'media/http could not start: the transport "http" failed: it was not done after 30 ms (startupTimeout).',
    )
    expect(setupSignal?.aborted).toBe(true)
    slow.resolve()
    await closed.promise
    expect(events).toEqual(['http start', 'http close'])
  })

  it('cancels a start when its signal aborts', async () => {
    const controller = new AbortController()
    const definition = system({
      setup: async ({ signal }) => {
        controller.abort(new Error('changed my mind'))
        await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
      },
    })
    const error = await failure(start(definition, { signal: controller.signal }))
    expect(error.message).toBe('media/http could not start: setup failed: changed my mind')
  })

  it('reads the configuration and hands it to setup, with the environment of system and process', async () => {
    const definition = defineSystem({
      name: 'media',
      version: '1.0.0',
      config: {
        schema: z.object({ a: z.string(), b: z.string(), c: z.string(), port: z.number() }),
        sources: [env('MEDIA_'), overrides({ port: 7 }, 'test')],
      },
      setup: ({ config, process }) => ({ sum: [config.a, config.b, config.c].join(), process }),
      env: { MEDIA_A: 'system', MEDIA_B: 'system', MEDIA_C: 'system' },
      processes: [
        {
          name: 'http',
          module: async () => ({ default: defineProcess({}) }),
          env: { MEDIA_B: 'process', MEDIA_C: 'process' },
        },
      ],
    })
    await using app = await start(definition, { env: { MEDIA_C: 'outside' }, instance: 3 })
    expect(app.services).toEqual({ sum: 'system,process,outside', process: { name: 'http', instance: 3 } })
    expect(app.configOrigins.get('port')).toBe('test')
  })

  it('does not start with a bad configuration, and says what is wrong with it', async () => {
    const definition = defineSystem({
      name: 'media',
      version: '1.0.0',
      config: { schema: z.object({ port: z.number() }), sources: [env('MEDIA_')] },
      processes: [{ name: 'http', module: async () => ({ default: defineProcess({}) }) }],
    })
    const error = await failure(start(definition, { env: { MEDIA_PORT: 'x', MEDIA_PROT: '1' } }))
    expect(error.message).toContain('Did you mean "port"?')
    expect(error).toMatchObject({ details: { code: 'ERR_CORE_CONFIG_INVALID' } })
  })

  it('runs calls through the auth manager and the wrappers that the services make', async () => {
    const seen: (Principal | undefined)[] = []
    const definition = defineSystem({
      name: 'media',
      version: '1.0.0',
      setup: () => ({ tokens: createTokenAuth({ t: testUser({ userId: 'ada' }) }) }),
      auth: ({ tokens }) => tokens,
      wrappers: () => [
        (invocation, next) => {
          seen.push(invocation.principal, currentInvocation()?.principal)
          return next()
        },
      ],
      processes: [{ name: 'http', module: async () => ({ default: defineProcess({}) }) }],
    })
    await using app = await start(definition)
    const call = {
      operation: { surface: 'rpc', name: 'x', access: 'authenticated', freshness: undefined, timeout: 0 },
      requestId: '1',
      signal: new AbortController().signal,
    } as const
    const steps = { input: () => 1, handle: (input: number) => input + 1 }
    expect(await app.pipeline.run({ ...call, credentials: { scheme: 'bearer', token: 't' } }, steps)).toBe(2)
    await expect(app.pipeline.run({ ...call, credentials: noCredentials }, steps)).rejects.toThrow(
      'signed-in',
    )
    expect(seen.map((principal) => principal?.userId)).toEqual(['ada', 'ada'])
  })

  it('gives each transport its port, the procedures and the routes', async () => {
    const http = recordedTransport('whatever')
    const definition = system({
      processes: [
        {
          name: 'http',
          module: async () => ({ default: defineProcess({ services: [objects] }) }),
          transports: { http },
        },
      ],
    })
    await using app = await start(definition, { ports: { http: 4711 } })
    expect(app.transports.get('http')?.url).toBe('test://whatever:4711')
    expect([...(http.host?.procedures.keys() ?? [])]).toEqual(['objects.list'])
    await expect(start(definition, { ports: { htp: 1 } })).rejects.toThrow('Did you mean "http"?')
  })

  it('takes a way in only from workers that are listed, so that its rule can be seen before it runs', async () => {
    const job = { ...recordedTransport('jobs'), operations: [incomingCall({ access: 'system' }).operation] }
    const using = (workers: NonNullable<ProcessOptions['workers']>) => defineProcess({ workers })
    expect(using([job]).operations).toEqual(job.operations)
    expect(using(() => [job]).operations).toEqual([])
    const run = (definition: ReturnType<typeof defineProcess>) =>
      start(system({ processes: [{ name: 'http', module: async () => ({ default: definition }) }] }))
    await (await run(using([job]))).stop()
    await (await run(using(() => [recordedTransport('relay')]))).stop()
    await expect(run(using(() => [job]))).rejects.toThrow(
      'defineProcess.workers: "jobs" opens objects.list, which must be listed itself',
    )
  })

  it('imports a module by path, relative to baseUrl', async () => {
    const processes = [{ name: 'http', module: './fixtures/process.ts' }]
    await using app = await start(system({ processes }), { baseUrl: join(import.meta.dirname, '..') })
    expect([...app.procedures.keys()]).toEqual(['fixture.hello'])
    const wrong = system({ processes: [{ name: 'http', module: './fixtures/not-a-process.ts' }] })
    await expect(start(wrong, { baseUrl: join(import.meta.dirname, '..') })).rejects.toThrow(
      'the default export must be made by defineProcess()',
    )
  })

  it('needs to be told which of several processes to run', async () => {
    const module = async () => ({ default: defineProcess({}) })
    const definition = system({
      processes: [
        { name: 'http', module },
        { name: 'jobs', module },
      ],
    })
    await expect(start(definition)).rejects.toThrow('needs a process. Processes: http, jobs.')
    await expect(start(definition, { process: 'job' })).rejects.toThrow('Did you mean "jobs"?')
    await using app = await start(definition, { process: 'jobs' })
    expect(app.process).toBe('jobs')
  })

  it('shows health reports to the hooks', async () => {
    await using app = await start(
      system({
        hooks: {
          onHealthCheck: (report) => ({ ...report, status: report.status === 'pass' ? 'warn' : 'fail' }),
        },
      }),
    )
    app.health.add({ name: 'always', check: async () => 'fine' })
    expect(await app.health.report()).toMatchObject({
      status: 'warn',
      checks: { always: { status: 'pass' } },
    })
  })

  it('applies the dev settings only under dev', async () => {
    const write = process.stdout.write.bind(process.stdout)
    const lines: string[] = []
    process.stdout.write = (chunk: string | Uint8Array) => {
      lines.push(String(chunk))
      return true
    }
    const before = process.sourceMapsEnabled
    try {
      const definition = system({ dev: { logLevel: 'silent', sourceMaps: true } })
      const quiet = await createApp(definition, { env: {}, dev: true })
      expect(process.sourceMapsEnabled).toBe(true)
      await quiet.stop()
    } finally {
      process.setSourceMapsEnabled(before)
      process.stdout.write = write
    }
    expect(lines.filter((line) => line.includes('"started"'))).toEqual([])
  })
})

describe('app.stop', () => {
  it('leaves no timer and no listener behind, nor does a start that fails', async () => {
    const { signal } = new AbortController()
    const before = process.getActiveResourcesInfo().toSorted()
    for (let round = 0; round < 20; round++) {
      const definition = system({
        setup: ({ lifecycle }) => {
          lifecycle.setInterval(() => {}, '1h')
          lifecycle.setTimeout(() => {}, '1h')
        },
        hooks: {
          afterStart: () => {
            if (round % 2 === 1) throw new Error('no')
          },
        },
      })
      if (round % 2 === 1) await failure(start(definition, { signal }))
      else await (await start(definition, { signal })).stop()
    }
    expect(process.getActiveResourcesInfo().toSorted()).toEqual(before)
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })

  it('lets calls in progress finish, and refuses new ones', async () => {
    const app = await start(system())
    const finish = Promise.withResolvers<string>()
    const call = {
      operation: { surface: 'rpc', name: 'x', access: 'public', freshness: undefined, timeout: 0 },
      credentials: noCredentials,
      requestId: '1',
      signal: new AbortController().signal,
    } as const
    const running = app.pipeline.run(call, { input: () => undefined, handle: () => finish.promise })
    const stopped = app.stop()
    await expect
      .poll(() => app.pipeline.run(call, { input: () => 1, handle: () => 1 }).catch((error) => error.code))
      .toBe('ERR_CORE_STOPPING')
    finish.resolve('done')
    expect(await running).toBe('done')
    await stopped
  })

  it('closes every transport to new work at once, although one takes long to drain', async () => {
    const events: string[] = []
    const slow = Promise.withResolvers<void>()
    const app = await start(
      system({
        processes: [
          {
            name: 'http',
            module: async () => ({
              default: defineProcess({
                workers: [recordedTransport('jobs', { events, onDrain: () => slow.promise })],
              }),
            }),
            transports: { http: recordedTransport('http', { events }) },
          },
        ],
      }),
    )
    const stopped = app.stop()
    await expect.poll(() => events).toContain('http drain shutdown')
    expect(events).not.toContain('http close')
    slow.resolve()
    await stopped
    expect(events.slice(-2)).toEqual(['jobs close', 'http close'])
  })

  it('goes on serving for the propagation delay, not ready, before anything drains', async () => {
    const events: string[] = []
    const app = await start(
      system({
        shutdown: { propagationDelay: 60, timeout: 20 },
        processes: [
          {
            name: 'http',
            module: async () => ({ default: defineProcess({}) }),
            transports: { http: recordedTransport('http', { events }) },
            hooks: { beforeStop: () => void events.push('beforeStop') },
          },
        ],
      }),
    )
    const stopped = app.stop('deployment')
    expect(app.health.accepting).toBe(false)
    expect(events).toEqual(['http start', 'http announce deployment'])
    const answer = app.pipeline.run(incomingCall(), { input: () => 1, handle: (input) => input })
    await expect(answer).resolves.toBe(1)
    expect(events).toHaveLength(2)
    await stopped
    expect(events.slice(2)).toEqual(['beforeStop', 'http drain deployment', 'http close'])
  })

  it('does not wait for balancers when the process has failed', async () => {
    const app = await start(system({ shutdown: { propagationDelay: '1h' } }))
    await app.stop('failure')
    expect(app.lifecycle.phase).toBe('stopped')
  })

  it('has the health of the process in its setup', async () => {
    const app = await start(
      system({
        setup: ({ health }) =>
          health.add({ name: 'pool', check: () => Promise.reject(new Error('no connection')) }),
      }),
    )
    expect(await app.health.report()).toMatchObject({
      status: 'fail',
      checks: { pool: { status: 'fail', detail: 'no connection' } },
    })
  })

  it('names what hangs when the time has run out, and goes on to the end', async () => {
    const events: string[] = []
    const app = await start(
      system({
        shutdown: { timeout: 30 },
        setup: ({ lifecycle }) => lifecycle.onStop('pool', () => void events.push('release pool')),
        processes: [
          {
            name: 'http',
            module: async () => ({ default: defineProcess({}) }),
            transports: {
              http: recordedTransport('http', {
                events,
                onDrain: (_reason, signal) =>
                  new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
              }),
            },
          },
        ],
      }),
    )
    const error = await failure(app.stop())
    expect(error.message).toBe(
      'media/http did not stop cleanly:\n- draining the transport "http": was not done in time.',
    )
    expect(isQuintetError(error) && error.code).toBe('ERR_CORE_STOP_FAILED')
    expect(events).toEqual(['http start', 'http drain shutdown', 'http close', 'release pool'])
  })

  it('aborts calls that do not finish in time, and counts them', async () => {
    const app = await start(system({ shutdown: { timeout: 30 } }))
    const call = app.pipeline.run(
      {
        operation: { surface: 'rpc', name: 'x', access: 'public', freshness: undefined, timeout: 0 },
        credentials: noCredentials,
        requestId: '1',
        signal: new AbortController().signal,
      },
      {
        input: () => undefined,
        handle: (_input, { signal }) =>
          new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason))),
      },
    )
    const [stopped, answered] = await Promise.all([failure(app.stop()), failure(call)])
    expect(stopped.message).toContain('calls in progress: was not done in time (waiting for x).')
    expect(answered).toMatchObject({ code: 'ERR_CORE_STOPPING', kind: 'unavailable' })
  })

  it('takes work that was handed over when the time ran out for an orderly end', async () => {
    const worker = (ending: 'handed-over' | undefined) =>
      system({
        shutdown: { timeout: 30 },
        processes: [
          {
            name: 'jobs',
            module: async () => ({ default: defineProcess({}) }),
            transports: {
              worker: recordedTransport('worker', {
                onDrain: async (_reason, signal) => {
                  await new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
                  // Giving a job back takes a moment.
                  await new Promise(setImmediate)
                  return ending
                },
              }),
            },
          },
        ],
      })
    await (await start(worker('handed-over'))).stop()
    const brokenOff = await failure((await start(worker(undefined))).stop())
    expect(brokenOff.message).toContain('draining the transport "worker": was not done in time.')
  })

  it('drains nothing with drainConnections: false', async () => {
    const events: string[] = []
    const app = await start(
      system({
        shutdown: { drainConnections: false },
        processes: [
          {
            name: 'http',
            module: async () => ({ default: defineProcess({}) }),
            transports: { http: recordedTransport('http', { events }) },
          },
        ],
      }),
    )
    await app.stop()
    expect(events).toEqual(['http start', 'http close'])
  })

  it('reports every failure, with what was thrown', async () => {
    const app = await start(
      system({
        setup: ({ lifecycle }) => lifecycle.onStop('pool', () => Promise.reject(new Error('pool is stuck'))),
        hooks: { beforeStop: () => Promise.reject(new Error('hook is broken')) },
      }),
    )
    const error = await failure(app.stop())
    expect(error).toMatchObject({ details: { steps: ['beforeStop', 'releasing resources'] } })
    expect((error.cause as AggregateError).errors.map(String)).toEqual([
      'Error: beforeStop: hook is broken',
      'Error: releasing resources: pool is stuck',
    ])
    expect(app.lifecycle.phase).toBe('stopped')
  })
})

describe('sibling', () => {
  const module = async () => ({ default: defineProcess({}) })
  const definition = defineSystem({
    name: 'media',
    version: '1.0.0',
    setup: ({ sibling }) => ({ sibling }),
    processes: [
      { name: 'http', module, topology: { access: ['images'] } },
      { name: 'images', module, topology: { expose: true } },
    ],
  })

  it('calls as the caller of the call in progress, with its address, request id and trace, and else as the process', async () => {
    const forwarded: unknown[] = []
    const closed: string[] = []
    const links: Links = {
      expose: () => recordedTransport('link'),
      connect: (process, forward) => ({
        carriesBytes: true,
        async call() {
          const { principal, client, requestId, traceparent } = forward()
          const who = principal.kind === 'system' ? principal.actor : principal.userId
          forwarded.push([who, client?.address, requestId, traceparent])
          return process
        },
        async *stream() {},
        [Symbol.asyncDispose]: async () => void closed.push(process),
      }),
    }
    const app = await start(definition, { process: 'http', links })
    const { sibling } = app.services
    expect(await sibling('images').call('x', {})).toBe('images')
    const principal = testUser({ userId: 'ada' })
    const traceparent = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
    await app.pipeline.run(
      {
        operation: { surface: 'rpc', name: 'x', access: 'authenticated', freshness: undefined, timeout: 0 },
        credentials: { scheme: 'attested', principal, by: 'in-process' },
        requestId: '1',
        client: { address: '192.0.2.7', userAgent: null },
        traceparent,
        signal: new AbortController().signal,
      },
      { input: () => undefined, handle: () => sibling('images').call('x', {}) },
    )
    expect(forwarded).toEqual([
      ['media/http', undefined, undefined, undefined],
      ['ada', '192.0.2.7', '1', traceparent],
    ])
    expect(() => sibling('image')).toThrow('Did you mean "images"?')
    await app.stop()
    expect(closed).toEqual(['images'])
  })

  it('exposes a process to its siblings', async () => {
    const link = recordedTransport('link')
    const links: Links = { expose: () => link, connect: () => Promise.reject(new Error('unused')) as never }
    await using app = await start(definition, { process: 'images', links })
    expect([...app.transports.keys()]).toEqual(['link'])
  })

  it('says that there are no links, where there are none', async () => {
    await using app = await start(definition, { process: 'http' })
    expect(() => app.services.sibling('images')).toThrow('this process was started without links')
    const warnings: string[] = []
    const logger: Logger = { ...silentLogger, warn: (_fields, message = '') => void warnings.push(message) }
    const exposed = await start(definition, { process: 'images', logger })
    await exposed.stop()
    expect(warnings).toEqual(['this process exposes its services to siblings, but was started without links'])
  })
})
