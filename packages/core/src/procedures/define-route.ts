import { accessOption } from '../access/access-option.ts'
import type { AccessRule } from '../access/access-rule.ts'
import { option } from '../options/options.ts'
import { schemaOption } from '../options/schema-option.ts'
import { readOptions } from '../options/read-options.ts'
import type { Operation } from '../pipeline/operation.ts'
import type { Route, RouteMethod, RouteOptions } from './route.ts'
import type { Schema } from './schema.ts'

/** The `route` function, with the type of `services` that its handlers get. */
export type DefineRoute<Services> = <
  const Access extends AccessRule,
  Params extends Schema | undefined = undefined,
  Query extends Schema | undefined = undefined,
  Headers extends Schema | undefined = undefined,
  Body extends Schema | undefined = undefined,
  Answer extends Schema | undefined = undefined,
>(
  options: RouteOptions<Access, Services, Params, Query, Headers, Body, Answer>,
) => Route

const methods: readonly RouteMethod[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
const routeSpec = {
  method: option.oneOf(methods),
  pattern: option.text(undefined, {
    pattern: /^\/[^?#\s]*$/,
    expected: 'a pattern that starts with "/" and holds no query, fragment or space',
  }),
  access: accessOption(),
  description: option.text('', { pattern: /^/, expected: 'a text' }),
  maxRequestSize: option.size().optional(),
  timeout: option.duration().optional(),
  freshness: option.oneOf(['strict']).optional(),
  params: schemaOption().optional(),
  query: schemaOption().optional(),
  headers: schemaOption().optional(),
  body: schemaOption().optional(),
  response: schemaOption().optional(),
  handler: option.function<Route['handler']>(),
}

/**
 * Defines a custom HTTP route: a Web `Request` in, a `Response` or null out, through the pipeline.
 *
 * @throws TypeError when it declares no access rule, or an option that is unknown or makes no sense.
 *
 * @example
 * const { route } = withServices<MediaServices>()
 * const list = route({
 *   method: 'GET',
 *   pattern: '/objects',
 *   access: 'authenticated',
 *   query: z.object({ limit: z.coerce.number().max(100).default(20) }),
 *   response: z.array(z.object({ id: z.string() })),
 *   handler: (_request, { query, services }) => services.objects.list(query.limit),
 * })
 */
export const route: DefineRoute<unknown> = (options: AnyOptions): Route => {
  if (typeof options !== 'object' || options === null) throw new TypeError('route: needs options.')
  const path = `route ${String(options.method)} ${String(options.pattern)}`
  return readOptions<AnyOptions, typeof routeSpec>(options, routeSpec, path, {
    check({ method, body }, note) {
      if (body !== undefined && (method === 'GET' || method === 'HEAD'))
        note('body', `a ${method} request has no body. Describe its query instead.`)
    },
  })
}

interface AnyOptions extends Omit<RouteOptions<AccessRule>, keyof RouteSchemas | 'handler'>, RouteSchemas {
  readonly handler: Route['handler']
}

type RouteSchemas = {
  readonly [Key in 'params' | 'query' | 'headers' | 'body' | 'response']?: Schema | undefined
}

/** The operation under which a route goes through the pipeline. */
export function routeOperation(route: Route, defaultTimeout: number): Operation {
  return Object.freeze({
    surface: 'route',
    name: `${route.method} ${route.pattern}`,
    access: route.access,
    freshness: route.freshness,
    timeout: route.timeout ?? defaultTimeout,
  })
}
