import { type } from 'arktype'
import * as v from 'valibot'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import { callProcedure, nameProcedures, routeOperation, streamProcedure } from '../../src/kit.ts'
import {
  defineProcess,
  procedure,
  route,
  service,
  withServices,
  type Principal,
  type Procedure,
  type Schema,
  type SystemPrincipal,
  type UserPrincipal,
} from '../../src/index.ts'
import { createTestHost } from '../../src/testing.ts'
import { incomingCall } from '../incoming-call.ts'

const loose = (options: unknown): never => options as never

async function call(target: Procedure, input: unknown): Promise<unknown> {
  await using host = createTestHost()
  return await callProcedure(host, target, incomingCall(), () => input)
}

describe('procedure', () => {
  it('says where it stands when it is not sound', () => {
    const undeclared = (): unknown => procedure({} as never, () => 1)
    expect(undeclared).toThrow(
      /^procedure: declares no access rule\..* \(packages\/core\/test\/procedures\/define-procedure\.test\.ts:\d+\)$/,
    )
    expect(() => procedure({ access: 'admin' as never }, () => 1)).toThrow(
      'procedure: access "admin" is no access rule. For a role write { roles: ["admin"] }.',
    )
  })

  it('fills in its defaults', () => {
    expect(procedure({ access: 'public' }, () => 1)).toMatchObject({
      mode: 'call',
      access: 'public',
      description: '',
      timeout: 30_000,
      maxInputSize: 1024 ** 2,
      safe: false,
      freshness: undefined,
      input: undefined,
      output: undefined,
    })
    expect(procedure({ access: 'public', stream: z.number() }, async function* () {})).toMatchObject({
      mode: 'stream',
      timeout: 0,
    })
  })

  it('takes what it is told', () => {
    const options = {
      access: 'authenticated',
      description: 'Lists objects.',
      timeout: '2m',
      maxInputSize: '10kb',
      freshness: 'strict',
      input: z.string(),
      output: z.string(),
    } as const
    expect(procedure(options, ({ input }) => input)).toMatchObject({
      ...options,
      timeout: 120_000,
      maxInputSize: 10_240,
    })
  })

  const handler = (): number => 1
  it.each([
    ['no access rule', {}, handler, 'declares no access rule'],
    ['an unknown key', { access: 'public', acess: 1 }, handler, 'Did you mean "access"?'],
    ['no handler', { access: 'public' }, undefined, 'needs a handler'],
    [
      'a schema that is none',
      { access: 'public', input: {} },
      handler,
      'procedure.input: is not a Standard Schema',
    ],
    ['a bad duration', { access: 'public', timeout: '1 minute' }, handler, 'procedure.timeout'],
    ['a bad size', { access: 'public', maxInputSize: 'huge' }, handler, 'procedure.maxInputSize'],
    ['a freshness that is none', { access: 'public', freshness: 'tracked' }, handler, 'procedure.freshness'],
    [
      'output beside stream',
      { access: 'public', stream: z.number(), output: z.number() },
      handler,
      'both output and stream',
    ],
    [
      'a generator without stream',
      { access: 'public' },
      async function* () {},
      'stream must name the schema',
    ],
  ])('refuses %s', (_name, options, given, message) => {
    expect(() => procedure(loose(options), loose(given))).toThrow(message)
    expect(() => procedure(loose(options), loose(given))).toThrow(TypeError)
  })
})

describe('callProcedure', () => {
  const schemas: Record<string, Schema> = {
    zod: z.object({ id: z.string().min(2) }),
    valibot: v.object({ id: v.pipe(v.string(), v.minLength(2)) }),
    arktype: type({ id: 'string >= 2' }),
  }

  it.each(Object.entries(schemas))(
    'validates input with %s, and says where it is wrong',
    async (_name, input) => {
      const echo = procedure({ access: 'public', input }, (given) => given.input)
      expect(await call(echo, { id: 'ab' })).toEqual({ id: 'ab' })
      await expect(call(echo, { id: 'a' })).rejects.toMatchObject({
        code: 'ERR_CORE_INVALID_INPUT',
        kind: 'invalid-input',
        details: { issues: [{ pointer: '/id', message: expect.any(String) }] },
      })
    },
  )

  it('gives the handler what the schema made of the input, also an asynchronous one', async () => {
    const input = z.object({ n: z.string().transform(async (text) => Number(text)) })
    expect(
      await call(
        procedure({ access: 'public', input }, (given) => given.input.n + 1),
        { n: '41' },
      ),
    ).toBe(42)
  })

  it('gives undefined for an input that nothing describes', async () => {
    expect(
      await call(
        procedure({ access: 'public' }, ({ input }) => input === undefined),
        { admin: true },
      ),
    ).toBe(true)
  })

  it('gives the client what the output schema makes of the result, and no more', async () => {
    const output = z.object({ id: z.string() })
    const leaky = procedure({ access: 'public', output }, () => ({ id: 'a', passwordHash: 'x' }))
    expect(await call(leaky, undefined)).toEqual({ id: 'a' })
  })

  it('takes a result that does not fit for a failure of ours', async () => {
    const output = z.object({ id: z.string() })
    const wrong = procedure({ access: 'public', output }, () => loose({ id: 7 }))
    await expect(call(wrong, undefined)).rejects.toMatchObject({
      kind: 'internal',
      message: 'Something failed on our side.',
    })
    const slow = z.string().refine(async (text) => text !== 'bad')
    await expect(
      call(
        procedure({ access: 'public', output: slow }, async () => 'bad'),
        0,
      ),
    ).rejects.toMatchObject({
      kind: 'internal',
    })
    expect(
      await call(
        procedure({ access: 'public', output: slow }, async () => 'good'),
        0,
      ),
    ).toBe('good')
  })
})

describe('streamProcedure', () => {
  it('checks each event, and hands on the id of the last one that the client saw', async () => {
    await using host = createTestHost()
    const watch = procedure(
      { access: 'public', stream: z.object({ id: z.string() }) },
      async function* ({ lastEventId }) {
        yield { id: `after ${lastEventId}`, secret: 1 }
        yield loose({ id: 7 })
      },
    )
    const stream = streamProcedure(host, watch, incomingCall(), () => undefined, { lastEventId: 'e-7' })
    expect((await stream.next()).value).toEqual({ id: 'after e-7' })
    await expect(stream.next()).rejects.toMatchObject({ kind: 'internal' })
  })
})

describe('service', () => {
  const list = procedure({ access: 'public' }, () => [])

  it('names its procedures', () => {
    const named = nameProcedures([service('objects', { list })])
    expect(named.get('objects.list')).toMatchObject({
      name: 'objects.list',
      procedure: list,
      operation: { surface: 'rpc', name: 'objects.list', access: 'public', timeout: 30_000 },
    })
    expect(named.get('objects.constructor')).toBeUndefined()
  })

  it.each(['__proto__', 'constructor', 'a.b', '', 'then'])('refuses the name %j', (name) => {
    expect(() => service(name, { list })).toThrow('service: ')
    const members = Object.fromEntries([[name, list]])
    expect(() => service('objects', members)).toThrow('service objects: ')
  })

  it('refuses what procedure did not make, and objects with a prototype of their own', () => {
    expect(() => service('objects', loose({ list: () => [] }))).toThrow('"list" was not made by procedure()')
    expect(() => service('objects', loose({ __proto__: { list } }))).toThrow('a plain object')
  })

  it('is one of its name in a process', () => {
    const twice = [service('objects', { list }), service('objects', { list })]
    expect(() => defineProcess({ services: twice })).toThrow('two services named "objects"')
    const worker = { name: 'worker:a', start: () => undefined }
    expect(() => defineProcess({ services: [worker as never] })).toThrow(
      'defineProcess.services[0]: is no service. Make one with service(); a worker belongs into "workers"',
    )
  })
})

describe('route', () => {
  const options = { method: 'GET', pattern: '/render/*', access: 'public', handler: () => null } as const

  it('fills in its defaults, and takes what it is told', () => {
    expect(route(options)).toMatchObject({
      description: '',
      maxRequestSize: undefined,
      timeout: undefined,
      freshness: undefined,
    })
    const given = route({
      ...options,
      description: 'x',
      maxRequestSize: '10gb',
      timeout: '5m',
      freshness: 'strict',
    })
    expect(given).toMatchObject({
      description: 'x',
      maxRequestSize: 10 * 1024 ** 3,
      timeout: 300_000,
      freshness: 'strict',
    })
    expect(routeOperation(given, 1)).toMatchObject({
      surface: 'route',
      name: 'GET /render/*',
      timeout: 300_000,
    })
    expect(routeOperation(route(options), 1).timeout).toBe(1)
  })

  it.each([
    [{ access: undefined }, 'declares no access rule'],
    [{ method: 'TRACE' }, 'TRACE /render/*.method: "TRACE" is not one of \'GET\''],
    [{ pattern: 'render' }, 'is not a pattern that starts with "/"'],
    [{ pattern: '/a?b' }, 'is not a pattern that starts with "/"'],
    [{ handler: 7 }, 'handler: 7 is not a function.'],
    [{ freshness: 'x' }, 'freshness: "x" is not one of \'strict\'.'],
    [{ acces: 'public' }, 'Did you mean "access"?'],
    [{ timeout: 'x' }, 'timeout'],
    [{ maxRequestSize: 'x' }, 'maxRequestSize'],
  ])('refuses %j', (change, message) => {
    expect(() => route(loose({ ...options, ...change }))).toThrow(message)
  })

  it('is one of its method and pattern in a process', () => {
    expect(() => defineProcess({ routes: [route(options), route(options)] })).toThrow(
      'two routes GET /render/*',
    )
    expect(() => defineProcess({ routes: loose([{ ...options, access: 'publik' }]) })).toThrow(
      "Did you mean 'public'?",
    )
    expect(() => defineProcess({ routes: loose([{}]) })).toThrow('made by route()')
  })
})

describe('defineProcess', () => {
  it('refuses unknown keys and hooks', () => {
    expect(() => defineProcess(loose({ service: [] }))).toThrow('Did you mean "services"?')
    expect(() => defineProcess(loose({ hooks: { afterCreat() {} } }))).toThrow('Did you mean "afterCreate"?')
    expect(() => defineProcess(loose({ hooks: { afterCreate: 7 } }))).toThrow(
      'afterCreate: 7 is not a function.',
    )
  })
})

describe('types', () => {
  interface Services {
    readonly store: { list(prefix: string): string[] }
  }
  const typed = withServices<Services>()

  it('tie the handler to the schemas, the services and the access rule', () => {
    typed.procedure(
      {
        access: 'authenticated',
        input: z.object({ n: z.string().transform(Number) }),
        output: z.array(z.string()),
      },
      (given) => {
        expectTypeOf(given.input).toEqualTypeOf<{ n: number }>()
        expectTypeOf(given.services).toEqualTypeOf<Services>()
        expectTypeOf(given.principal).toEqualTypeOf<UserPrincipal>()
        return given.services.store.list('')
      },
    )
    typed.procedure({ access: 'public' }, (given) => {
      expectTypeOf(given.input).toEqualTypeOf<undefined>()
      expectTypeOf(given.principal).toEqualTypeOf<Principal>()
    })
    typed.procedure({ access: 'system' }, (given) =>
      expectTypeOf(given.principal).toEqualTypeOf<SystemPrincipal>(),
    )
    typed.procedure({ access: { roles: ['admin'] } }, (given) =>
      expectTypeOf(given.principal).toEqualTypeOf<UserPrincipal>(),
    )
    typed.route({
      method: 'GET',
      pattern: '/',
      access: 'authenticated',
      handler: (_request, context) => {
        expectTypeOf(context.services).toEqualTypeOf<Services>()
        expectTypeOf(context.principal).toEqualTypeOf<UserPrincipal>()
        return null
      },
    })
  })

  it('give the client what it sends and gets', () => {
    const made = procedure(
      {
        access: 'public',
        input: z.object({ n: z.string().transform(Number) }),
        output: z.object({ at: z.string() }),
      },
      () => ({ at: '' }),
    )
    expectTypeOf(made).toEqualTypeOf<Procedure<{ n: string }, { at: string }, 'call'>>()
    const bare = procedure({ access: 'public' }, async () => 7)
    expectTypeOf(bare).toEqualTypeOf<Procedure<void, number, 'call'>>()
    const stream = procedure({ access: 'public', stream: z.object({ id: z.string() }) }, async function* () {
      yield { id: '' }
    })
    expectTypeOf(stream).toEqualTypeOf<Procedure<void, { id: string }, 'stream'>>()
  })

  it('refuse a result that is not what the output schema says', () => {
    // @ts-expect-error the schema wants a text
    procedure({ access: 'public', output: z.string() }, () => 7)
    // @ts-expect-error the schema of each event wants a text
    procedure({ access: 'public', stream: z.string() }, async function* () {
      yield 7
    })
  })
})
