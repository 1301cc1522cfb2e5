import type { Route, Schema } from '@quintet/core'
import { describeAccess, type NamedProcedure } from '@quintet/core/kit'
import { Components } from './components.ts'
import { pathTemplate, type PathParameter, type PathTemplate } from './path-template.ts'
import { describeSchema, type JsonSchema, type SchemaConverters } from './json-schema.ts'

/** What an OpenAPI document is made from. */
export interface DocumentSource {
  readonly system: { readonly name: string; readonly version: string }
  readonly procedures: ReadonlyMap<string, NamedProcedure>
  readonly routes: readonly Route[]
}

/** An OpenAPI 3.1 document; JSON all through. */
export interface OpenApiDocument {
  readonly openapi: '3.1.1'
  readonly info: { readonly title: string; readonly version: string }
  readonly servers: readonly { readonly url: string }[]
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly components: Readonly<Record<string, unknown>>
}

export interface DocumentOptions {
  /** JSON Schema for schema libraries that do not offer it themselves, by vendor name. @defaultValue {} */
  readonly converters?: SchemaConverters
  /** Where the paths begin, as seen from the document. @defaultValue `'/'` */
  readonly server?: string
}

/**
 * Describes every procedure and route from the contracts that serve them.
 *
 * @see https://spec.openapis.org/oas/v3.1.1
 */
export function createDocument(
  source: DocumentSource,
  { converters = {}, server = '/' }: DocumentOptions = {},
): OpenApiDocument {
  const components = new Components()
  const paths: Record<string, Record<string, unknown>> = {}
  const toSchema: ToSchema = (schema, side, name) =>
    components.add(describeSchema(schema, side, converters), name)
  for (const named of source.procedures.values()) {
    paths[`/rpc/${named.name.replace('.', '/')}`] = describeProcedure(named, toSchema)
  }
  addRoutes(paths, source.routes, toSchema, components)
  return {
    openapi: '3.1.1',
    info: { title: source.system.name, version: source.system.version },
    servers: [{ url: server }],
    paths,
    components: {
      schemas: { ...components.schemas, Problem: problemSchema },
      securitySchemes: { bearer: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT' } },
      responses: {
        Problem: {
          description: 'What went wrong.',
          content: { 'application/problem+json': { schema: problemRef } },
        },
      },
    },
  }
}

type ToSchema = (schema: Schema | undefined, side: 'input' | 'output', name: string) => JsonSchema

/** Paths that differ in nothing but the names of their parameters are one path: the first one names it. */
function addRoutes(
  paths: Record<string, Record<string, unknown>>,
  routes: readonly Route[],
  toSchema: ToSchema,
  components: Components,
): void {
  const known = new Map<string, PathTemplate>()
  const ids = new Set<string>()
  for (const route of routes) {
    const template = pathTemplate(route.pattern)
    const shape = template.path.replace(/\{[^}]*\}/g, '{}')
    const { path, parameters } = known.get(shape) ?? template
    if (!known.has(shape)) known.set(shape, template)
    const method = route.method.toLowerCase()
    // The first route that matches is asked first, so it is the one that is described.
    if (paths[path]?.[method] !== undefined) continue
    const named = parameters.map(({ name }, index) => ({
      name,
      pattern: template.parameters[index]?.pattern,
    }))
    paths[path] = {
      ...paths[path],
      [method]: describeRoute(route, operationIdOf(route.method, path, ids), named, toSchema, components),
    }
  }
}

/** `GET /files/{name}` is `get_files_name`: generators make a function of it. */
function operationIdOf(method: string, path: string, taken: Set<string>): string {
  const words = [method.toLowerCase(), ...path.split(/[^A-Za-z0-9]+/).filter((word) => word !== '')]
  const wanted = words.join('_')
  let id = wanted
  for (let count = 2; taken.has(id); count++) id = `${wanted}_${String(count)}`
  taken.add(id)
  return id
}

const problemRef = { $ref: '#/components/schemas/Problem' }

const problemSchema: JsonSchema = {
  type: 'object',
  required: ['type', 'title', 'status', 'detail', 'code', 'kind'],
  properties: {
    type: { type: 'string' },
    title: { type: 'string' },
    status: { type: 'integer' },
    detail: { type: 'string' },
    code: { type: 'string' },
    kind: { type: 'string' },
    requestId: { type: 'string' },
    details: { type: 'object' },
    retryAfter: { type: 'number' },
  },
}

/** The operations of a procedure by method: `POST`, and `GET` for one that is safe. */
function describeProcedure({ name, procedure }: NamedProcedure, toSchema: ToSchema): Record<string, unknown> {
  const [tag = name] = name.split('.', 1)
  const output = toSchema(procedure.output, 'output', `${name}.output`)
  const type = procedure.mode === 'stream' ? 'text/event-stream' : 'application/json'
  const input = procedure.input && toSchema(procedure.input, 'input', `${name}.input`)
  const content = { 'application/json': { schema: input } }
  const answer = {
    description:
      procedure.mode === 'stream' ? 'Server-sent events; the data of each is JSON.' : 'The result.',
    content: { [type]: { schema: procedure.mode === 'stream' ? { type: 'string' } : output } },
    ...(procedure.mode === 'stream' ? { 'x-event-schema': output } : {}),
  }
  const shared = {
    tags: [tag],
    ...common(procedure.access, procedure.description),
    responses: {
      200: answer,
      ...(procedure.mode === 'call' && procedure.output === undefined
        ? { 204: { description: 'No result.' } }
        : {}),
      default: { $ref: '#/components/responses/Problem' },
    },
  }
  const post = {
    operationId: name,
    ...shared,
    ...(input === undefined ? {} : { requestBody: { required: true, content } }),
  }
  if (!procedure.safe) return { post }
  const parameters = input === undefined ? [] : [{ name: 'input', in: 'query', required: true, content }]
  return { get: { operationId: `${name}.get`, ...shared, parameters }, post }
}

function describeRoute(
  route: Route,
  operationId: string,
  inPath: readonly PathParameter[],
  toSchema: ToSchema,
  components: Components,
): JsonSchema {
  const describe = (part: 'params' | 'query' | 'headers'): readonly [string, JsonSchema, boolean][] =>
    route[part] === undefined
      ? []
      : membersOf(components.resolve(toSchema(route[part], 'input', `${operationId}.${part}`)))
  const params = new Map(describe('params').map(([name, schema]) => [name, schema]))
  const parameters = [
    ...inPath.map(({ name, pattern }) => ({
      name,
      in: 'path',
      required: true,
      schema: params.get(name) ?? { type: 'string', ...(pattern === undefined ? {} : { pattern }) },
    })),
    ...describe('query').map(([name, schema, required]) => ({ name, in: 'query', required, schema })),
    ...describe('headers')
      .filter(([name]) => !ownHeaders.has(name))
      .map(([name, schema, required]) => ({ name, in: 'header', required, schema })),
  ]
  const body = route.body && toSchema(route.body, 'input', `${operationId}.body`)
  const result = route.response && toSchema(route.response, 'output', `${operationId}.response`)
  return {
    operationId,
    tags: ['routes'],
    ...common(route.access, route.description),
    ...(parameters.length === 0 ? {} : { parameters }),
    ...(body === undefined
      ? {}
      : { requestBody: { required: true, content: { 'application/json': { schema: body } } } }),
    responses:
      result === undefined
        ? { default: { description: 'Whatever the route answers, or a problem document.' } }
        : {
            200: { description: 'The result.', content: { 'application/json': { schema: result } } },
            default: { $ref: '#/components/responses/Problem' },
          },
  }
}

/** Headers that OpenAPI describes by other means. */
const ownHeaders: ReadonlySet<string> = new Set(['accept', 'authorization', 'content-type'])

/** The members of an object's schema, and which of them must be there. */
function membersOf({ properties, required }: JsonSchema): readonly [string, JsonSchema, boolean][] {
  const needed = Array.isArray(required) ? (required as unknown[]) : []
  return Object.entries((properties ?? {}) as Record<string, JsonSchema>).map(([name, schema]) => [
    name,
    schema,
    needed.includes(name),
  ])
}

function common(access: Route['access'], description: string): JsonSchema {
  return {
    ...(description === '' ? {} : { summary: description }),
    'x-access': describeAccess(access),
    security: access === 'public' ? [] : [{ bearer: [] }],
  }
}
