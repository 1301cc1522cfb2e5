import type { Route } from '@quintet/core'
import { describeAccess, type NamedProcedure } from '@quintet/core/kit'
import { toJsonSchema, type JsonSchema, type SchemaConverters } from './json-schema.ts'

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
  readonly paths: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  readonly components: Readonly<Record<string, unknown>>
}

/**
 * Describes every procedure and route from the contracts that serve them.
 *
 * @see https://spec.openapis.org/oas/v3.1.1
 */
export function createDocument(source: DocumentSource, converters: SchemaConverters = {}): OpenApiDocument {
  const paths: Record<string, Record<string, unknown>> = {}
  for (const named of source.procedures.values()) {
    paths[`/rpc/${named.name.replace('.', '/')}`] = { post: describeProcedure(named, converters) }
  }
  for (const route of source.routes) {
    const path = templateOf(route.pattern)
    paths[path] = { ...paths[path], [route.method.toLowerCase()]: describeRoute(route, path) }
  }
  return {
    openapi: '3.1.1',
    info: { title: source.system.name, version: source.system.version },
    paths,
    components: {
      schemas: { Problem: problemSchema },
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

function describeProcedure({ name, procedure }: NamedProcedure, converters: SchemaConverters): JsonSchema {
  const [tag = name] = name.split('.', 1)
  const output = toJsonSchema(procedure.output, 'output', converters)
  const type = procedure.mode === 'stream' ? 'text/event-stream' : 'application/json'
  const answer = {
    description:
      procedure.mode === 'stream' ? 'Server-sent events; the data of each is JSON.' : 'The result.',
    content: { [type]: { schema: procedure.mode === 'stream' ? { type: 'string' } : output } },
    ...(procedure.mode === 'stream' ? { 'x-event-schema': output } : {}),
  }
  return {
    operationId: name,
    tags: [tag],
    ...common(procedure.access, procedure.description),
    ...(procedure.input === undefined
      ? {}
      : {
          requestBody: {
            required: true,
            content: { 'application/json': { schema: toJsonSchema(procedure.input, 'input', converters) } },
          },
        }),
    responses: {
      200: answer,
      ...(procedure.mode === 'call' && procedure.output === undefined
        ? { 204: { description: 'No result.' } }
        : {}),
      default: { $ref: '#/components/responses/Problem' },
    },
  }
}

function describeRoute(route: Route, path: string): JsonSchema {
  const parameters = [...path.matchAll(/\{([^}]+)\}/g)].map(([, name]) => ({
    name,
    in: 'path',
    required: true,
    schema: { type: 'string' },
  }))
  return {
    operationId: `${route.method} ${route.pattern}`,
    tags: ['routes'],
    ...common(route.access, route.description),
    ...(parameters.length === 0 ? {} : { parameters }),
    responses: { default: { description: 'Whatever the route answers, or a problem document.' } },
  }
}

function common(access: Route['access'], description: string): JsonSchema {
  return {
    ...(description === '' ? {} : { summary: description }),
    'x-access': describeAccess(access),
    security: access === 'public' ? [] : [{ bearer: [] }],
  }
}

/** `/objects/:id{[0-9]+}/*` in Hono's syntax is `/objects/{id}/{rest}` in that of OpenAPI. */
function templateOf(pattern: string): string {
  return pattern.replace(/:(\w+)(?:\{[^}]*\})?\??/g, '{$1}').replace(/\*$/, '{rest}')
}
