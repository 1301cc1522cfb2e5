import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import { toStandardJsonSchema } from '@valibot/to-json-schema'
import { type } from 'arktype'
import * as fc from 'fast-check'
import * as v from 'valibot'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { describeConfig, isSecret, loadConfig } from '../../src/kit.ts'
import { env, file, overrides, type ConfigSource, type QuintetError } from '../../src/index.ts'
import { secret } from '../../src/zod.ts'
import { shapeOf } from '../../src/config/schema-shape.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quintet-config-'))
})
afterAll(() => rm(folder, { recursive: true }))

const schema = z.object({
  port: z.number().int().default(3000),
  verbose: z.boolean().default(false),
  hosts: z.array(z.string()).default([]),
  mode: z.enum(['fast', 'safe']).default('safe'),
  database: z.object({ ownerUrl: z.string().optional(), poolSize: z.number().optional() }).default({}),
  apiKey: secret({ minLength: 4 }).optional(),
})

async function load(sources: readonly ConfigSource[], variables: Record<string, string> = {}) {
  return await loadConfig({ schema, sources, env: variables, baseUrl: folder })
}

describe('a value that is missing', () => {
  it('is said to be missing with the places where it can be given', async () => {
    await writeFile(join(folder, 'empty.json'), '{}')
    const wanted = z.object({
      title: z.string(),
      database: z.object({ ownerUrl: z.string() }).default({} as never),
    })
    const sources = [file('empty.json'), env('GALLERY_')]
    const { message } = await refusal(loadConfig({ schema: wanted, sources, env: {}, baseUrl: folder }))
    expect(message).toContain('- title: ')
    expect(message).toContain('. Set GALLERY_TITLE, or "title" in empty.json')
    const nested = await refusal(
      loadConfig({
        schema: wanted,
        sources: [overrides({ title: 'x', database: {} }), ...sources],
        env: {},
        baseUrl: folder,
      }),
    )
    expect(nested.message).toContain(
      '. Set GALLERY_DATABASE__OWNER_URL, or "database.ownerUrl" in empty.json',
    )
  })
})

async function refusal(promise: Promise<unknown>): Promise<QuintetError> {
  const error = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toMatchObject({ code: 'ERR_CORE_CONFIG_INVALID', kind: 'internal' })
  return error as QuintetError
}

describe('file', () => {
  it('reads JSON, relative to the bootstrap file', async () => {
    await writeFile(join(folder, 'default.json'), '{"port": 4000, "database": {"poolSize": 5}}')
    const { value, origins } = await load([file('default.json')])
    expect(value).toMatchObject({ port: 4000, database: { poolSize: 5 } })
    expect(origins.get('database.poolSize')).toBe('default.json')
  })

  it('may be missing only when it is optional', async () => {
    expect((await load([file('missing.json', { optional: true })])).value.port).toBe(3000)
    const error = await refusal(load([file('missing.json')]))
    expect(error.message).toContain('does not exist')
    expect(error.message).toContain('[missing.json]')
  })

  it('reads UTF-8 with a byte order mark, and says what another encoding is', async () => {
    const text = '{"port": 4000}'
    await writeFile(join(folder, 'bom.json'), `\uFEFF${text}`)
    expect((await load([file('bom.json')])).value.port).toBe(4000)
    for (const bytes of [Buffer.from(`\uFEFF${text}`, 'utf16le'), Buffer.from(text, 'utf16le')]) {
      await writeFile(join(folder, 'utf16.json'), bytes)
      const error = await refusal(load([file('utf16.json')]))
      expect(error.message).toContain('is encoded in UTF-16. Save it as UTF-8. [utf16.json]')
    }
    await writeFile(join(folder, 'latin1.json'), Buffer.from('{"mode": "schnell für alle"}', 'latin1'))
    expect((await refusal(load([file('latin1.json')]))).message).toContain('is not encoded in UTF-8')
  })

  it.each([
    ['a member twice', '{"port": 1, "database": {}, "port": 2}', 'has a member that is given twice.'],
    ['__proto__', '{"__proto__": {"port": 1}}', 'has a member named __proto__.'],
    [
      'a number that loses digits',
      '{"port": 12345678901234567890}',
      'has a number at "port" that loses digits. Write it as a text.',
    ],
  ])('refuses %s', async (_, text, message) => {
    await writeFile(join(folder, 'odd.json'), text)
    expect((await refusal(load([file('odd.json')]))).message).toContain(`- ${message} [odd.json]`)
  })

  it('does not quote a file that is not JSON', async () => {
    await writeFile(join(folder, 'broken.json'), '{\n  "apiKey": "hunter2" oops\n}')
    const error = await refusal(load([file('broken.json')]))
    expect(error.message).toContain('is not valid JSON')
    expect(error.message).not.toContain('hunter2')
    await writeFile(join(folder, 'list.json'), '[]')
    expect((await refusal(load([file('list.json')]))).message).toContain('must hold a JSON object')
  })

  it('does not coerce, because JSON has types', async () => {
    await writeFile(join(folder, 'text.json'), '{"port": "4000"}')
    expect((await refusal(load([file('text.json')]))).message).toContain('port: ')
  })

  it('knows its options', () => {
    const misspelt = { optional: true, optinal: true }
    expect(() => file('x.json', misspelt)).toThrow('Did you mean "optional"?')
    expect(() => file('')).toThrow('needs the path')
  })
})

describe('env', () => {
  it('reads what has its prefix: __ goes down, and segments are camelCase', async () => {
    const { value, origins } = await load([env('MEDIA_')], {
      MEDIA_PORT: '4000',
      MEDIA_VERBOSE: 'true',
      MEDIA_HOSTS: 'a, b,c',
      MEDIA_DATABASE__OWNER_URL: 'postgres://localhost/media',
      MEDIA_DATABASE__POOL_SIZE: '7',
      MEDIAN_PORT: '1',
      PATH: '/bin',
    })
    expect(value).toEqual({
      port: 4000,
      verbose: true,
      hosts: ['a', 'b', 'c'],
      mode: 'safe',
      database: { ownerUrl: 'postgres://localhost/media', poolSize: 7 },
    })
    expect(origins.get('database.ownerUrl')).toBe('env MEDIA_*')
  })

  it('reports variables that contradict each other', async () => {
    const below = await refusal(
      load([env('MEDIA_')], { MEDIA_DATABASE: 'x', MEDIA_DATABASE__POOL_SIZE: '1' }),
    )
    expect(below.message).toContain('MEDIA_DATABASE__POOL_SIZE below another one')
    const empty = await refusal(load([env('MEDIA_')], { MEDIA___X: '1' }))
    expect(empty.message).toContain('an empty part')
  })

  it.each(['', 'media_', 'MEDIA', '_', '1_'])(
    'needs a prefix in capitals with an underscore, not %j',
    (prefix) => {
      expect(() => env(prefix)).toThrow('must be in capitals')
    },
  )

  it('never changes the prototype of anything', async () => {
    const open = z.looseObject({ a: z.looseObject({}).optional() })
    const variables = { X___PROTO____POLLUTED: '1', X_A__CONSTRUCTOR__PROTOTYPE__POLLUTED: '1' }
    await loadConfig({ schema: open, sources: [env('X_')], env: variables }).catch(() => {})
    await loadConfig({
      schema: open,
      sources: [overrides(JSON.parse('{"__proto__": {"polluted": 1}, "a": {"__proto__": {"polluted": 1}}}'))],
    })
    expect(({} as Record<string, unknown>)['polluted']).toBeUndefined()
  })
})

describe('coercion', () => {
  it('leaves texts alone where the schema wants texts', async () => {
    await fc.assert(
      fc.asyncProperty(fc.string(), async (text) => {
        const texts = z.object({
          a: z.string(),
          b: z.string().nullable(),
          c: z.union([z.number(), z.string()]),
        })
        const { value } = await loadConfig({
          schema: texts,
          sources: [env('X_')],
          env: { X_A: text, X_B: text, X_C: text },
        })
        expect(value).toEqual({ a: text, b: text, c: text })
      }),
    )
  })

  it('reads every number that JavaScript writes', async () => {
    const numbers = z.object({ n: z.number() })
    await fc.assert(
      fc.asyncProperty(fc.double({ noNaN: true, noDefaultInfinity: true }), async (number) => {
        const { value } = await loadConfig({
          schema: numbers,
          sources: [env('X_')],
          env: { X_N: JSON.stringify(number) },
        })
        expect(value.n).toBe(Number(JSON.stringify(number)))
      }),
    )
  })

  it.each(['', ' 1', '1 ', '0x10', '00123', '1_000', '1,5', 'NaN', 'Infinity', 'true', '--1', '1e999'])(
    'takes %j for no number',
    async (text) => {
      const error = await refusal(load([env('MEDIA_')], { MEDIA_PORT: text }))
      expect(error.message).toContain('port: Invalid input: expected number')
    },
  )

  it('keeps a secret of digits as it is', async () => {
    const { value } = await load([env('MEDIA_')], { MEDIA_API_KEY: '00123' })
    expect(value.apiKey?.reveal()).toBe('00123')
  })

  it.each([
    ['1', true],
    ['0', false],
    ['true', true],
    ['false', false],
  ])('reads %j as %j where a boolean is wanted', async (text, expected) => {
    expect((await load([env('MEDIA_')], { MEDIA_VERBOSE: text })).value.verbose).toBe(expected)
  })

  it.each(['yes', 'TRUE', '', '2'])('takes %j for no boolean', async (text) => {
    await refusal(load([env('MEDIA_')], { MEDIA_VERBOSE: text }))
  })

  it('follows the schema through everything that zod wraps around it', async () => {
    const wrapped = z.object({
      optional: z.number().optional(),
      nullable: z.number().nullable(),
      defaulted: z.number().default(1),
      readonly: z.number().readonly(),
      caught: z.number().catch(0),
      piped: z.number().transform((value) => value * 2),
      lazy: z.lazy(() => z.number()),
      branded: z.number().brand('x'),
      described: z.number().describe('x'),
      either: z.union([z.boolean(), z.number()]),
      literal: z.literal([1, 2]),
      big: z.bigint(),
      list: z.array(z.number()),
      record: z.record(z.string(), z.number()),
      both: z.intersection(z.object({ a: z.number() }), z.object({ b: z.boolean() })),
      kind: z.discriminatedUnion('type', [
        z.object({ type: z.literal('a'), size: z.number() }),
        z.object({ type: z.literal('b'), flag: z.boolean() }),
      ]),
    })
    const names = [
      'OPTIONAL',
      'NULLABLE',
      'DEFAULTED',
      'READONLY',
      'CAUGHT',
      'PIPED',
      'LAZY',
      'BRANDED',
      'DESCRIBED',
    ]
    const variables: Record<string, string> = {
      ...Object.fromEntries([...names, 'EITHER', 'LITERAL', 'BIG'].map((name) => [`X_${name}`, '2'])),
      X_LIST: '1,2',
      X_RECORD__ANY_NAME: '3',
      X_BOTH__A: '1',
      X_BOTH__B: 'true',
      X_KIND__TYPE: 'b',
      X_KIND__FLAG: 'true',
    }
    const { value } = await loadConfig({ schema: wrapped, sources: [env('X_')], env: variables })
    expect(value).toEqual({
      optional: 2,
      nullable: 2,
      defaulted: 2,
      readonly: 2,
      caught: 2,
      piped: 4,
      lazy: 2,
      branded: 2,
      described: 2,
      either: 2,
      literal: 2,
      big: 2n,
      list: [1, 2],
      record: { anyName: 3 },
      both: { a: 1, b: true },
      kind: { type: 'b', flag: true },
    })
  })
})

/** One configuration in each library. */
const libraries = {
  zod: z.object({
    port: z.int().min(1).default(80),
    verbose: z.boolean(),
    big: z.bigint(),
    ports: z.array(z.number()),
    mode: z.union([z.literal('fast'), z.literal(3)]),
    name: z.string(),
    database: z.strictObject({ poolSize: z.number(), options: z.record(z.string(), z.boolean()) }),
  }),
  valibot: toStandardJsonSchema(
    v.object({
      port: v.optional(v.pipe(v.number(), v.integer(), v.minValue(1)), 80),
      verbose: v.boolean(),
      big: v.bigint(),
      ports: v.array(v.number()),
      mode: v.union([v.literal('fast'), v.literal(3)]),
      name: v.string(),
      database: v.strictObject({ poolSize: v.number(), options: v.record(v.string(), v.boolean()) }),
    }),
  ),
  arktype: type({
    port: 'number.integer >= 1 = 80',
    verbose: 'boolean',
    big: 'bigint',
    ports: 'number[]',
    mode: "'fast' | 3",
    name: 'string',
    database: { '+': 'reject', poolSize: 'number', options: 'Record<string, boolean>' },
  }),
}

describe.each(Object.entries(libraries))('a schema of %s', (_library, given) => {
  const read = (variables: Record<string, string> = {}): Promise<{ value: unknown }> =>
    loadConfig<unknown>({
      schema: given,
      sources: [env('X_')],
      env: {
        X_VERBOSE: 'true',
        X_BIG: '9007199254740993',
        X_PORTS: '1,2',
        X_MODE: '3',
        X_NAME: '00123',
        X_DATABASE__POOL_SIZE: '5',
        X_DATABASE__OPTIONS__TCP_KEEPALIVE: '0',
        ...variables,
      },
    })

  it('turns texts into what it wants', async () => {
    expect((await read({ X_PORT: '3000' })).value).toEqual({
      port: 3000,
      verbose: true,
      big: 9007199254740993n,
      ports: [1, 2],
      mode: 3,
      name: '00123',
      database: { poolSize: 5, options: { tcpKeepalive: false } },
    })
    expect((await read()).value).toMatchObject({ port: 80 })
  })

  it('says which key was meant, at each depth', async () => {
    const error = await refusal(read({ X_PROT: '1', X_DATABASE__POOLSIZE: '1' }))
    expect(error.message).toContain('unknown key "prot". Did you mean "port"?')
    expect(error.message).toContain('database: unknown key "poolsize". Did you mean "poolSize"?')
  })

  it('leaves a text that is not what it wants for the schema to refuse', async () => {
    const error = await refusal(read({ X_PORT: 'http', X_PORTS: '1,,2', X_VERBOSE: 'yes', X_MODE: '4' }))
    for (const name of ['port', 'ports', 'verbose', 'mode']) expect(error.message).toContain(`- ${name}: `)
    expect(error.message).toContain('(given: "http")')
  })
})

it('a schema that refers to itself is followed as deep as the values go', async () => {
  interface Node {
    size: number
    child?: Node | undefined
  }
  const node: z.ZodType<Node> = z.lazy(() => z.object({ size: z.number(), child: node.optional() }))
  const { value } = await loadConfig({
    schema: node,
    sources: [env('X_')],
    env: { X_SIZE: '1', X_CHILD__SIZE: '2', X_CHILD__CHILD__SIZE: '3' },
  })
  expect(value).toEqual({ size: 1, child: { size: 2, child: { size: 3 } } })
})

it('a schema without Standard JSON Schema sees the texts as they are', async () => {
  const schema = v.object({ port: v.string() })
  const { value } = await loadConfig({ schema, sources: [env('X_')], env: { X_PORT: '80', X_PROT: '1' } })
  expect(value).toEqual({ port: '80' })
})

describe('loadConfig', () => {
  it('lets later sources win, key by key', async () => {
    const { value, origins } = await load(
      [
        overrides({ port: 1, database: { poolSize: 1, ownerUrl: 'a' }, hosts: ['a', 'b'] }, 'one'),
        env('MEDIA_'),
      ],
      { MEDIA_DATABASE__POOL_SIZE: '2', MEDIA_HOSTS: 'c' },
    )
    expect(value).toMatchObject({ port: 1, database: { poolSize: 2, ownerUrl: 'a' }, hosts: ['c'] })
    expect(Object.fromEntries(origins)).toEqual({
      port: 'one',
      'database.ownerUrl': 'one',
      'database.poolSize': 'env MEDIA_*',
      hosts: 'env MEDIA_*',
    })
  })

  it('reports all problems at once, with path, source and value', async () => {
    const error = await refusal(
      load([overrides({ databse: {}, mode: 'slow' }, 'one'), env('MEDIA_')], {
        MEDIA_PORT: 'many',
        MEDIA_DATABASE__POOL_SZE: '1',
        MEDIA_VERBOSE: 'no',
      }),
    )
    expect(error.message.split('\n')).toEqual([
      'The configuration is not valid:',
      '- unknown key "databse". Did you mean "database"? [one]',
      '- database: unknown key "poolSze". Did you mean "poolSize"? [env MEDIA_*]',
      '- port: Invalid input: expected number, received string (given: "many") [env MEDIA_*]',
      '- verbose: Invalid input: expected boolean, received string (given: "no") [env MEDIA_*]',
      '- mode: Invalid option: expected one of "fast"|"safe" (given: "slow") [one]',
    ])
    expect(error.details?.['problems']).toHaveLength(5)
  })

  it('shows no secret, whatever is wrong with it', async () => {
    const sensitive = z.object({
      key: secret({ minLength: 32 }),
      password: z.string().min(32),
      url: z.string().startsWith('redis:'),
      nested: z.object({ token: z.number() }),
    })
    const error = await refusal(
      loadConfig({
        schema: sensitive,
        sources: [env('X_')],
        env: {
          X_KEY: 'hunter2',
          X_PASSWORD: 'hunter2',
          X_URL: 'postgres://ada:hunter2@localhost/db',
          X_NESTED__TOKEN: 'hunter2',
        },
      }),
    )
    expect(error.message).toContain('key: must have at least 32 characters (given: [secret])')
    expect(error.message).toContain('postgres://ada:[redacted]@localhost/db')
    expect(inspect(error, { depth: 9 })).not.toContain('hunter2')
  })

  it('takes any Standard Schema, which then sees the texts', async () => {
    const arktype = type({ port: 'string.integer.parse' })
    const { value } = await loadConfig({ schema: arktype, sources: [env('X_')], env: { X_PORT: '3000' } })
    expect(value.port).toBe(3000)
  })

  it('uses process.env unless told otherwise', async () => {
    const name = 'QUINTET_TEST_CONFIG_PORT'
    process.env[name] = '4711'
    try {
      expect((await loadConfig({ schema, sources: [env('QUINTET_TEST_CONFIG_')] })).value.port).toBe(4711)
    } finally {
      delete process.env[name]
    }
  })
})

describe('secret', () => {
  it('does not show itself', async () => {
    const { value } = await load([overrides({ apiKey: 'hunter2' })])
    const { apiKey } = value
    expect(isSecret(apiKey)).toBe(true)
    expect(apiKey?.reveal()).toBe('hunter2')
    const shown = [
      String(apiKey),
      [apiKey].join(),
      JSON.stringify(value),
      inspect(value, { showHidden: true, depth: 9 }),
    ]
    expect(shown.join()).not.toContain('hunter2')
    expect(Object.keys(apiKey ?? {})).toEqual([])
  })

  it('refuses what is too short, without showing it', async () => {
    const error = await refusal(load([overrides({ apiKey: 'abc' })]))
    expect(error.message).toContain('apiKey: must have at least 4 characters (given: [secret])')
  })

  it('stays a secret through what zod derives from it', () => {
    for (const derived of [
      secret(),
      secret().describe('x'),
      secret().refine(() => true),
      secret().optional(),
      secret().nullable(),
      secret().brand('x'),
      secret().readonly(),
      secret().transform(String),
      secret().meta({ title: 'x' }),
    ]) {
      expect(shapeOf(derived).isSecret).toBe(true)
    }
  })
})

describe('describeConfig', () => {
  it('lists every value with where it came from, and no secret', async () => {
    const loaded = await load(
      [overrides({ apiKey: 'hunter2', database: { ownerUrl: 'postgres://ada:hunter2@db/x' } }, 'one')],
      {},
    )
    expect(describeConfig(loaded)).toEqual([
      { path: 'apiKey', value: '[secret]', origin: 'one' },
      { path: 'database.ownerUrl', value: 'postgres://ada:[redacted]@db/x', origin: 'one' },
      { path: 'hosts', value: [], origin: 'default' },
      { path: 'mode', value: 'safe', origin: 'default' },
      { path: 'port', value: 3000, origin: 'default' },
      { path: 'verbose', value: false, origin: 'default' },
    ])
  })
})

describe('values that are nearly right', () => {
  it.each(['a,,b', 'a,', ',a', ','])('are refused as a list: %j', async (text) => {
    const error = await refusal(load([env('X_')], { X_HOSTS: text }))
    expect(error.message).toContain('hosts: ')
    expect(error.message).toContain('[env X_*]')
  })

  it('are refused as a number that would lose digits', async () => {
    const error = await refusal(load([env('X_')], { X_PORT: '12345678901234567890' }))
    expect(error.message).toContain('port: ')
  })

  it.each([
    'postgres:/app:hunter2@db/x',
    'postgres//app:hunter2@db/x',
    'app:hunter2@db:5432/x',
    'postgres://app:hunter2/hunter2@hunter2@db/x y',
    'redis://:hunter2,hunter2@one,redis://:hunter2@two',
    'https://db/x y?api_key=hunter2&password=hunter2',
  ])('never show the password of a URL: %s', async (text) => {
    const strict = z.object({ address: z.url({ protocol: /^amqp$/ }) })
    const read = loadConfig({ schema: strict, sources: [env('X_')], env: { X_ADDRESS: text } })
    const error = await refusal(read)
    expect(error.message).toContain('address: ')
    expect(error.message).not.toContain('hunter2')
    expect(JSON.stringify(error.details)).not.toContain('hunter2')
  })
})
