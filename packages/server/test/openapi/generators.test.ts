import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Validator } from '@seriousme/openapi-schema-validator'
import { generate } from 'orval'
import { generateApi } from 'swagger-typescript-api'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { procedure, route, service } from '@quintet/core'
import { createTestHost } from '@quintet/core/testing'
import { z } from 'zod'
import { createDocument, type OpenApiDocument } from '../../src/index.ts'

const user = z.object({ name: z.string() }).meta({ id: 'User' })
const otherUser = z.object({ age: z.number() }).meta({ id: 'a user/of ours' })
const tree = z.object({
  value: z.string(),
  get children() {
    return z.array(tree)
  },
})

const nasty = service('nasty', {
  named: procedure(
    { access: 'public', input: z.object({ a: user, b: user }), output: user },
    ({ input }) => input.a,
  ),
  other: procedure({ access: 'public', input: otherUser }, ({ input }) => input),
  recursive: procedure({ access: 'public', input: tree, output: z.object({ tree }) }, ({ input }) => ({
    tree: input,
  })),
  looked: procedure({ access: 'public', safe: true, input: user, output: user }, ({ input }) => input),
  partly: procedure(
    {
      access: 'public',
      input: z.object({
        id: z.string(),
        when: z.date().optional(),
        big: z.bigint().optional(),
        f: z.custom<never>().optional(),
      }),
      stream: z.object({ id: z.number(), when: z.date() }),
    },
    async function* () {
      yield { id: 1, when: new Date(0) }
    },
  ),
})

const handler = (): Response => new Response('x')
const routes = [
  route({ method: 'GET', pattern: '/v/:n{[0-9]{3}}', access: 'public', handler }),
  route({ method: 'PUT', pattern: '/v/:version', access: 'public', handler }),
  route({ method: 'GET', pattern: '/v/:again', access: 'public', handler }),
  route({ method: 'GET', pattern: '/a-b', access: 'public', handler }),
  route({ method: 'GET', pattern: '/files/:rest/*', access: 'authenticated', handler }),
  route({ method: 'POST', pattern: '/', access: 'public', handler }),
  route({
    method: 'PUT',
    pattern: '/typed/:id',
    access: 'public',
    params: z.object({ id: z.coerce.number().int() }),
    query: z.object({ limit: z.coerce.number().default(1), tag: z.array(z.string()) }),
    headers: z.object({ 'if-match': z.string(), authorization: z.string().optional() }),
    body: user,
    response: z.object({ tree }),
    handler,
  }),
]

const host = createTestHost({ services: [nasty], routes })
const document = JSON.parse(JSON.stringify(createDocument(host))) as OpenApiDocument

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'openapi-'))
  await writeFile(join(folder, 'openapi.json'), JSON.stringify(document))
})
afterAll(async () => {
  await rm(folder, { recursive: true })
  await host.close()
})

/** The targets of all references of a document. */
function refsOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return []
  const own = '$ref' in value && typeof value.$ref === 'string' ? [value.$ref] : []
  return [...own, ...Object.values(value).flatMap(refsOf)]
}

describe('the document of a nasty app', () => {
  it('passes a public validator', async () => {
    expect(await new Validator().validate(structuredClone(document) as never)).toEqual({ valid: true })
  })

  it('refers only to what it holds', () => {
    const refs = refsOf(document)
    expect(refs.length).toBeGreaterThan(5)
    for (const ref of refs) {
      const [, ...path] = ref.split('/')
      const target = path.reduce<unknown>((at, key) => (at as Record<string, unknown>)[key], document)
      expect([ref, typeof target]).toEqual([ref, 'object'])
      expect(target).not.toEqual({})
    }
  })

  it('describes what it can of a schema of which JSON Schema cannot say all', () => {
    const operation = document.paths['/rpc/nasty/partly']?.['post'] as {
      requestBody: { content: { 'application/json': { schema: { properties: object } } } }
    }
    expect(operation.requestBody.content['application/json'].schema.properties).toMatchObject({
      id: { type: 'string' },
      when: {},
    })
  })

  it('has one path for routes that differ in the names of their parameters, with what these must match', () => {
    expect(Object.keys(document.paths).filter((path) => !path.startsWith('/rpc'))).toEqual([
      '/v/{n}',
      '/a-b',
      '/files/{rest}/{rest_2}',
      '/',
      '/typed/{id}',
    ])
    const { get, put } = document.paths['/v/{n}'] as Record<
      string,
      { parameters: unknown[]; operationId: string }
    >
    expect(get?.parameters).toMatchObject([{ name: 'n', schema: { pattern: '^(?:[0-9]{3})$' } }])
    expect(put?.parameters).toMatchObject([{ name: 'n', schema: { type: 'string' } }])
    expect([get?.operationId, put?.operationId]).toEqual(['get_v_n', 'put_v_n'])
  })

  it('lists what the schemas of a route describe', () => {
    expect(document.paths['/typed/{id}']?.['put']).toMatchObject({
      parameters: [
        { name: 'id', in: 'path', required: true },
        { name: 'limit', in: 'query', required: false },
        { name: 'tag', in: 'query', required: true, schema: { type: 'array' } },
        { name: 'if-match', in: 'header', required: true, schema: { type: 'string' } },
      ],
      requestBody: {
        required: true,
        content: { 'application/json': { schema: { $ref: expect.stringMatching(/\/User/) as string } } },
      },
      responses: {
        200: { content: { 'application/json': { schema: { properties: { tree: {} } } } } },
        default: { $ref: '#/components/responses/Problem' },
      },
    })
  })

  it('is understood by two public generators of clients', async () => {
    const spec = structuredClone(document)
    const { files } = await generateApi({ spec: spec as never, silent: true, output: false })
    expect(files[0]?.fileContent).toContain('nastyRecursive')
    expect(files[0]?.fileContent).toContain('nastyLookedGet')
    await generate({
      input: { target: join(folder, 'openapi.json') },
      output: { target: join(folder, 'client.ts'), client: 'fetch', mode: 'single' },
    } as never)
    expect(await readdir(folder)).toContain('client.ts')
    expect(await readFile(join(folder, 'client.ts'), 'utf8')).toContain('nastyRecursive')
  })
})
