import { describe, expect, expectTypeOf, it } from 'vitest'
import {
  createApp,
  defineProcess,
  defineSystem,
  lazy,
  silentLogger,
  type Lazy,
  type Lifecycle,
  type SetupContext,
  type ProcessEntry,
} from '../../src/index.ts'

const module = async () => ({ default: defineProcess({}) })

/** Starts a process with the services that `setup` makes. */
function start<Services>(
  setup: (context: SetupContext<unknown>) => Services,
  entry: Partial<ProcessEntry<Services>> = {},
) {
  const system = defineSystem<unknown, Services>({
    name: 'media',
    version: '1.0.0',
    setup,
    processes: [{ name: 'http', module, ...entry }],
  })
  return createApp(system, { logger: silentLogger, env: {} })
}

describe('lazy', () => {
  it('makes a service once, at the first call, for all who ask meanwhile', async () => {
    let made = 0
    await using app = await start(() => ({ model: lazy(async () => ++made) }))
    expect(made).toBe(0)
    const { model } = app.services
    expect(await Promise.all([model(), model(), model()])).toEqual([1, 1, 1])
    expectTypeOf(model).toEqualTypeOf<Lazy<number>>()
  })

  it('tries again at the next call when it could not be made', async () => {
    let attempts = 0
    const model = lazy(() => {
      if (++attempts === 1) throw new Error('the disk is full')
      return 'model'
    })
    await expect(Promise.all([model(), model()])).rejects.toThrow('the disk is full')
    expect(await model()).toBe('model')
    expect(attempts).toBe(2)
  })

  it('is disposed with the process when it was made, before what it stands on', async () => {
    const events: string[] = []
    const resource = (name: string) => ({ [Symbol.asyncDispose]: async () => void events.push(name) })
    const app = await start(() => {
      const pool = lazy(() => resource('pool'))
      const model = lazy(async () => {
        await pool()
        return resource('model')
      })
      return { model, pool, unused: lazy(() => resource('unused')) }
    })
    await app.services.model()
    await app.stop()
    expect(events).toEqual(['model', 'pool'])
  })

  it('is found without calling a getter, which may do work of its own', async () => {
    await using app = await start(() => ({
      model: lazy(() => 1),
      get jobs(): string {
        throw new Error('not for this process')
      },
    }))
    expect(await app.services.model()).toBe(1)
  })

  it('names the cycle when a service needs itself', async () => {
    const setup = () => {
      const services: Record<string, Lazy<unknown>> = {
        model: lazy(async () => ({ tokenizer: await services['tokenizer']?.() })),
        tokenizer: lazy(() => services['vocabulary']?.()),
        vocabulary: lazy(async () => {
          await new Promise(setImmediate)
          return services['model']?.()
        }),
        sound: lazy(async () => [await services['leaf']?.(), await services['leaf']?.()]),
        leaf: lazy(() => 1),
      }
      return services
    }
    await using app = await start(setup)
    await expect(app.services['model']?.()).rejects.toThrow(
      'lazy: a service needs itself: model -> tokenizer -> vocabulary -> model.',
    )
    expect(await app.services['sound']?.()).toEqual([1, 1])
    await expect(app.services['tokenizer']?.()).rejects.toThrow(
      'tokenizer -> vocabulary -> model -> tokenizer',
    )
  })

  it('keeps what it uses until it is made, when the process stops meanwhile', async () => {
    const events: string[] = []
    const proceed = Promise.withResolvers<void>()
    const app = await start(() => {
      const pool = lazy(() => ({ [Symbol.dispose]: () => void events.push('pool released') }))
      const model = lazy(async () => {
        await pool()
        await proceed.promise
        events.push('model made')
        return { [Symbol.dispose]: () => void events.push('model released') }
      })
      return { pool, model }
    })
    const made = app.services.model().catch((error: Error) => error.message)
    const stopped = app.stop()
    await expect.poll(() => app.lifecycle.signal.aborted).toBe(true)
    expect(events).toEqual([])
    proceed.resolve()
    await stopped
    expect(await made).toBe('The process has stopped.')
    expect(events).toEqual(['model made', 'model released', 'pool released'])
  })

  it('is let go at once when it is made after the process has stopped', async () => {
    const events: string[] = []
    const app = await start(() => ({
      model: lazy(() => ({ [Symbol.dispose]: () => void events.push('model') })),
    }))
    await app.stop()
    await expect(app.services.model()).rejects.toThrow('The process has stopped.')
    expect(events).toEqual(['model'])
  })
})

describe('eager', () => {
  it('makes services before the process is ready, and fails the start when one cannot be made', async () => {
    const events: string[] = []
    const setup = () => ({ model: lazy(() => events.push('made')), slow: lazy(() => new Promise(() => {})) })
    await using app = await start(setup, {
      eager: ['model'],
      hooks: {
        afterCreate: () => void events.push('afterCreate'),
        beforeStart: () => void events.push('beforeStart'),
      },
    })
    expect(events).toEqual(['afterCreate', 'made', 'beforeStart'])
    expect(app.health.started).toBe(true)
    await expect(start(setup, { eager: ['slow'], startupTimeout: 20 })).rejects.toThrow(
      'media/http could not start: making the service "slow" failed: it was not done after 20 ms (startupTimeout).',
    )
  })

  it('releases nothing under a service that is still being made when another one fails', async () => {
    const events: string[] = []
    const setup = ({ lifecycle }: { lifecycle: Lifecycle }) => {
      lifecycle.onStop('pool', () => void events.push('pool released'))
      return {
        broken: lazy(() => Promise.reject(new Error('no model'))),
        slow: lazy(async () => {
          await new Promise((resolve) => setTimeout(resolve, 30))
          events.push('slow made')
        }),
      }
    }
    await expect(start(setup, { eager: ['broken', 'slow'] })).rejects.toThrow('no model')
    expect(events).toEqual(['slow made', 'pool released'])
  })

  it('names lazy services only', async () => {
    const setup = () => ({ model: lazy(() => 1), plain: 7 })
    await expect(start(setup, { eager: ['modle' as 'model'] })).rejects.toThrow(
      'eager names "modle", which is no lazy() service of setup. Did you mean "model"?',
    )
    await expect(start(setup, { eager: ['plain'] })).rejects.toThrow('There are: model.')
    const options = { name: 'media', version: '1.0.0', setup }
    expect(
      defineSystem({ ...options, processes: [{ name: 'http', module, eager: ['model'] }] }).processes,
    ).toHaveLength(1)
    // @ts-expect-error no service has this name
    defineSystem({ ...options, processes: [{ name: 'http', module, eager: ['modle'] }] })
  })
})
