import { assertAccessRule, type AccessRule } from '../access/access-rule.ts'
import { parseDuration } from '../options/duration.ts'
import { refuseUnknownKeys } from '../options/known-keys.ts'
import type { Operation } from '../pipeline/operation.ts'
import type { Route, RouteMethod, RouteOptions } from './route.ts'
import { parseSize } from '../options/size.ts'

/** The `route` function, with the type of `services` that its handlers get. */
export type DefineRoute<Services> = <const Access extends AccessRule>(
  options: RouteOptions<Access, Services>,
) => Route

const methods: readonly RouteMethod[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
const knownKeys = [
  'method',
  'pattern',
  'access',
  'description',
  'maxRequestSize',
  'timeout',
  'freshness',
  'handler',
]

/**
 * Defines a custom HTTP route: a Web `Request` in, a `Response` or null out, through the pipeline.
 *
 * @throws TypeError when it declares no access rule, or an option that is unknown or makes no sense.
 */
export const route: DefineRoute<unknown> = <const Access extends AccessRule>(
  options: RouteOptions<Access>,
): Route => {
  if (typeof options !== 'object' || options === null) throw new TypeError('route: needs options.')
  const { method, pattern } = options
  const path = `route ${String(method)} ${String(pattern)}`
  refuseUnknownKeys(options, knownKeys, path)
  assertAccessRule(options.access, path)
  if (!methods.includes(method)) {
    throw new TypeError(`${path}: method must be one of ${methods.join(', ')}.`)
  }
  if (typeof pattern !== 'string' || !pattern.startsWith('/') || /[?#\s]/.test(pattern)) {
    throw new TypeError(`${path}: the pattern must start with "/" and hold no query, fragment or space.`)
  }
  if (typeof options.handler !== 'function') throw new TypeError(`${path}: needs a handler.`)
  if (options.freshness !== undefined && options.freshness !== 'strict') {
    throw new TypeError(`${path}: freshness must be 'strict' or left out.`)
  }
  const { maxRequestSize, timeout } = options
  return Object.freeze({
    method,
    pattern,
    access: options.access,
    description: options.description ?? '',
    maxRequestSize:
      maxRequestSize === undefined ? undefined : parseSize(maxRequestSize, `${path}: maxRequestSize`),
    timeout: timeout === undefined ? undefined : parseDuration(timeout, `${path}: timeout`),
    freshness: options.freshness,
    handler: options.handler,
  })
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
