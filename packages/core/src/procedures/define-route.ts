import { accessOption } from '../access/access-option.ts'
import type { AccessRule } from '../access/access-rule.ts'
import { option } from '../options/options.ts'
import { readOptions } from '../options/read-options.ts'
import type { Operation } from '../pipeline/operation.ts'
import type { Route, RouteMethod, RouteOptions } from './route.ts'

/** The `route` function, with the type of `services` that its handlers get. */
export type DefineRoute<Services> = <const Access extends AccessRule>(
  options: RouteOptions<Access, Services>,
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
  handler: option.function<Route['handler']>(),
}

/**
 * Defines a custom HTTP route: a Web `Request` in, a `Response` or null out, through the pipeline.
 *
 * @throws TypeError when it declares no access rule, or an option that is unknown or makes no sense.
 */
export const route: DefineRoute<unknown> = <const Access extends AccessRule>(
  options: RouteOptions<Access>,
): Route => {
  if (typeof options !== 'object' || options === null) throw new TypeError('route: needs options.')
  const path = `route ${String(options.method)} ${String(options.pattern)}`
  return readOptions<RouteOptions<Access>, typeof routeSpec>(options, routeSpec, path)
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
