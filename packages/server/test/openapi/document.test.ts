import { toJsonSchema as valibotToJsonSchema } from '@valibot/to-json-schema'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { type } from 'arktype'
import fc from 'fast-check'
import * as v from 'valibot'
import { describe, expect, it } from 'vitest'
import { procedure, route, type Schema, service } from '@quintet/core'
import { testUser } from '@quintet/core/testing'
import { z } from 'zod'
import type { JsonSchema, OpenApiDocument, SchemaConverter } from '../../src/index.ts'
import { serve } from '../support/serve.ts'

const withZod = service('zod', {
  create: procedure(
    {
      access: 'authenticated',
      description: 'Makes one.',
      input: z.object({
        name: z.string().min(1).max(20),
        size: z.int().min(0).max(99).default(1),
        tags: z.array(z.enum(['a', 'b'])).max(3),
      }),
      output: z.object({ id: z.uuid(), name: z.string(), size: z.number(), tags: z.array(z.string()) }),
    },
    ({ input }) => ({ id: crypto.randomUUID(), ...input }),
  ),
  nothing: procedure({ access: { roles: ['admin'] } }, () => {}),
  events: procedure(
    {
      access: 'public',
      input: z.object({ to: z.int().min(0).max(3) }),
      stream: z.object({ id: z.number() }),
    },
    async function* ({ input }) {
      for (let id = 1; id <= input.to; id++) yield { id }
    },
  ),
})

const withValibot = service('valibot', {
  double: procedure(
    {
      access: 'authenticated',
      input: v.object({ value: v.pipe(v.number(), v.integer(), v.minValue(-100), v.maxValue(100)) }),
      output: v.object({ value: v.number() }),
    },
    ({ input }) => ({ value: input.value * 2 }),
  ),
})

const withArktype = service('arktype', {
  join: procedure(
    {
      access: 'public',
      input: type({ left: 'string <= 10', 'right?': 'string <= 10' }),
      output: type({ text: 'string', length: 'number' }),
    },
    ({ input }) => ({
      text: input.left + (input.right ?? ''),
      length: input.left.length + (input.right ?? '').length,
    }),
  ),
})

const files = [
  route({
    method: 'GET',
    pattern: '/files/:name/*',
    access: 'authenticated',
    description: 'A file.',
    handler: () => new Response('x'),
  }),
  route({
    method: 'PUT',
    pattern: '/files/:name/*',
    access: { permissions: ['write'] },
    handler: () => new Response(null, { status: 204 }),
  }),
]

const converters = {
  valibot: ((schema: Schema) =>
    valibotToJsonSchema(schema as v.GenericSchema) as JsonSchema) satisfies SchemaConverter,
}

const start = () =>
  serve(
    { openapi: { converters } },
    {
      services: [withZod, withValibot, withArktype],
      routes: files,
      tokens: { admin: testUser({ roles: ['admin'], permissions: ['write'] }) },
    },
  )

interface Operation {
  readonly operationId: string
  readonly security: readonly unknown[]
  readonly parameters?: readonly { readonly name: string }[]
  readonly requestBody?: {
    readonly content: { readonly 'application/json': { readonly schema: JsonSchema } }
  }
  readonly responses: Readonly<
    Record<
      string,
      {
        readonly content?: Readonly<Record<string, { readonly schema: JsonSchema }>>
        readonly 'x-event-schema'?: JsonSchema
      }
    >
  >
}

describe('/openapi.json', () => {
  it('describes every procedure and route, with its access rule and the schemas of each library', async () => {
    await using app = await start()
    const document = (await (await fetch(`${app.url}/openapi.json`)).json()) as OpenApiDocument
    expect(document.openapi).toBe('3.1.1')
    expect(Object.keys(document.paths)).toEqual([
      '/rpc/zod/create',
      '/rpc/zod/nothing',
      '/rpc/zod/events',
      '/rpc/valibot/double',
      '/rpc/arktype/join',
      '/files/{name}/{rest}',
    ])
    expect(document.paths['/rpc/zod/create']?.['post']).toMatchObject({
      operationId: 'zod.create',
      summary: 'Makes one.',
      'x-access': 'authenticated',
      security: [{ bearer: [] }],
      requestBody: {
        content: {
          'application/json': {
            schema: { required: ['name', 'tags'], properties: { name: { maxLength: 20 } } },
          },
        },
      },
    })
    expect(document.paths['/rpc/zod/nothing']?.['post']).toMatchObject({
      'x-access': 'role admin',
      responses: { 204: {} },
    })
    expect(document.paths['/rpc/valibot/double']?.['post']).toMatchObject({
      requestBody: {
        content: {
          'application/json': { schema: { properties: { value: { type: 'integer', minimum: -100 } } } },
        },
      },
    })
    expect(document.paths['/rpc/arktype/join']?.['post']).toMatchObject({
      security: [],
      requestBody: { content: { 'application/json': { schema: { required: ['left'] } } } },
    })
    expect(document.paths['/files/{name}/{rest}']).toMatchObject({
      get: {
        summary: 'A file.',
        parameters: [
          { name: 'name', in: 'path' },
          { name: 'rest', in: 'path' },
        ],
      },
      put: { 'x-access': 'permission write' },
    })
  })

  it('describes a schema that cannot be told as any value', async () => {
    const custom: Schema<unknown, unknown> = {
      '~standard': { version: 1, vendor: 'own', validate: (value) => ({ value }) },
    }
    const odd = service('odd', {
      own: procedure({ access: 'public', input: custom }, () => 1),
      valibot: procedure({ access: 'public', input: v.string() }, () => 1),
      bigint: procedure({ access: 'public', input: z.bigint() }, () => 1),
    })
    await using app = await serve({}, { services: [odd] })
    const document = (await (await fetch(`${app.url}/openapi.json`)).json()) as OpenApiDocument
    for (const path of Object.values(document.paths)) {
      expect((path['post'] as Operation).requestBody?.content['application/json'].schema).toEqual({})
    }
  })

  it('agrees with what is served: every operation, with a valid token and with any input', async () => {
    await using app = await start()
    const document = (await (await fetch(`${app.url}/openapi.json`)).json()) as OpenApiDocument
    const ajv = new Ajv2020({ strict: false, validateFormats: false })
    ajv.addSchema({ $id: 'doc', components: document.components })
    const isProblem = ajv.compile({ $ref: 'doc#/components/schemas/Problem' })

    for (const [path, operations] of Object.entries(document.paths)) {
      const operation = operations['post'] as Operation | undefined
      if (operation === undefined) continue
      const schema = operation.requestBody?.content['application/json'].schema
      const answer = operation.responses['200']
      const accepts = schema === undefined ? () => true : ajv.compile(schema)
      const fits = ajv.compile(answer?.content?.['application/json']?.schema ?? {})
      const isEvent = ajv.compile(answer?.['x-event-schema'] ?? {})
      let served = 0
      await fc.assert(
        fc.asyncProperty(schema === undefined ? fc.constant(undefined) : valueOf(schema), async (input) => {
          const response = await app.post(path, input, { authorization: 'Bearer admin' })
          const text = await response.text()
          // The document is as strict as the server, and the server as the document.
          expect([path, input, response.status < 300]).toEqual([path, input, accepts(input)])
          if (response.status >= 400) {
            expect(response.status).toBe(400)
            expect(isProblem(JSON.parse(text))).toBe(true)
            return
          }
          served++
          if (response.status === 204) expect(operation.responses['204']).toBeDefined()
          else if (response.headers.get('content-type') === 'text/event-stream') {
            const events = [...text.matchAll(/^data: (.+)$/gm)].map(
              ([, data = '']) => JSON.parse(data) as unknown,
            )
            expect(events.every((event) => isEvent(event))).toBe(true)
          } else expect(fits(JSON.parse(text))).toBe(true)
        }),
        { numRuns: 60 },
      )
      expect([path, served > 10]).toEqual([path, true])
      if (operation.security.length > 0) expect((await app.post(path, {})).status).toBe(401)
    }
  })

  it('agrees with what is served: every route, with a valid token and with any parameters', async () => {
    await using app = await start()
    const document = (await (await fetch(`${app.url}/openapi.json`)).json()) as OpenApiDocument
    const ajv = new Ajv2020({ strict: false, validateFormats: false })
    ajv.addSchema({ $id: 'doc', components: document.components })
    const isProblem = ajv.compile({ $ref: 'doc#/components/schemas/Problem' })
    const operations = Object.entries(document.paths)
      .filter(([path]) => !path.startsWith('/rpc/'))
      .flatMap(([path, methods]) =>
        Object.entries(methods).map(([method, found]) => ({ path, method, found })),
      )
    expect(operations).toHaveLength(2)
    for (const { path, method, found } of operations) {
      const { security, parameters } = found as Operation
      const value = fc.string({ minLength: 1, maxLength: 20, unit: 'binary' })
      let served = 0
      await fc.assert(
        fc.asyncProperty(fc.array(value, { minLength: 2, maxLength: 2 }), async (values) => {
          const given = new Map(parameters?.map(({ name }, index) => [name, values[index] ?? '']))
          const target = path.replaceAll(/\{(\w+)\}/g, (_all, name: string) =>
            encodeURIComponent(given.get(name)?.toWellFormed() ?? ''),
          )
          const ask = (headers: Record<string, string>): Promise<Response> =>
            fetch(`${app.url}${target}`, { method: method.toUpperCase(), headers })
          const response = await ask({ authorization: 'Bearer admin' })
          const text = await response.text()
          if (response.status < 300) {
            served++
            if (security.length > 0) expect((await ask({})).status).toBe(401)
          } else {
            // A dot segment or a NUL is no parameter; fetch itself takes the former out of the path.
            expect([target, [400, 404].includes(response.status)]).toEqual([target, true])
            expect(isProblem(JSON.parse(text))).toBe(true)
          }
        }),
        { numRuns: 60 },
      )
      expect([path, served > 40]).toEqual([path, true])
    }
  })
})

/** Values of a schema most of the time, and others. */
function valueOf(schema: JsonSchema): fc.Arbitrary<unknown> {
  return fc.oneof(
    { weight: 4, arbitrary: fitting(schema) },
    { weight: 1, arbitrary: fc.jsonValue({ maxDepth: 2, noUnicodeString: true } as object) },
  )
}

function fitting(schema: JsonSchema): fc.Arbitrary<unknown> {
  if (Array.isArray(schema['enum'])) return fc.constantFrom(...(schema['enum'] as unknown[]))
  switch (schema['type']) {
    case 'object': {
      const properties = Object.entries((schema['properties'] ?? {}) as Record<string, JsonSchema>)
      const required = (schema['required'] ?? []) as string[]
      return fc.record(Object.fromEntries(properties.map(([name, member]) => [name, fitting(member)])), {
        requiredKeys: required,
        noNullPrototype: true,
      })
    }
    case 'array':
      return fc.array(fitting((schema['items'] ?? {}) as JsonSchema), {
        maxLength: Number(schema['maxItems'] ?? 4),
      })
    case 'integer':
    case 'number':
      return fc.integer({ min: Number(schema['minimum'] ?? -5), max: Number(schema['maximum'] ?? 5) })
    case 'string':
      return fc.string({
        minLength: Number(schema['minLength'] ?? 0),
        maxLength: Number(schema['maxLength'] ?? 8),
      })
    default:
      return fc.jsonValue()
  }
}

describe('/docs', () => {
  it('is a page that runs its own script, loads its own document and nothing else', async () => {
    await using app = await start()
    const page = await fetch(`${app.url}/docs`)
    expect(page.headers.get('content-type')).toBe('text/html; charset=utf-8')
    const policy = page.headers.get('content-security-policy') ?? ''
    expect(policy).toContain("default-src 'none'")
    expect(policy).not.toContain('unsafe')
    const html = await page.text()
    expect(html).toContain('data-document="./openapi.json"')
    const { createHash } = await import('node:crypto')
    for (const [, , text = ''] of html.matchAll(/<(script|style)>([\s\S]*?)<\/\1>/g)) {
      expect(policy).toContain(createHash('sha256').update(text).digest('base64'))
    }
    expect(html).not.toMatch(/(?:src|href)=/)
  })
})
