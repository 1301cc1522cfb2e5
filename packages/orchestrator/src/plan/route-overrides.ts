import { option, readOptions } from '@quintet/core/kit'
import type { PlannedRoute, RouteOverrides } from './plan.ts'

/** What follows from the apps. */
const derived: readonly string[] = ['name', 'path', 'upstreams']

/** The gateway itself reads the rest. */
const overrides = option.parsed<RouteOverrides>('options of a route', (given, path) => {
  if (typeof given !== 'object' || given === null || Array.isArray(given))
    throw new TypeError(`${path}: must be options of a route, by name.`)
  const wrong = Object.keys(given).find((key) => derived.includes(key))
  if (wrong !== undefined) throw new TypeError(`${path}.${wrong}: follows from the app, and cannot be given.`)
  return given
})

/**
 * The derived routes with the options that the ecosystem file gives them by name.
 *
 * @throws TypeError for a route that there is not, and for what follows from the apps.
 */
export function overrideRoutes(
  given: unknown,
  routes: readonly PlannedRoute[],
  path: string,
): readonly PlannedRoute[] {
  if (given === undefined) return routes
  const spec = Object.fromEntries(routes.map(({ name }) => [name, overrides.optional()]))
  const read = readOptions(given as Record<string, RouteOverrides>, spec, path)
  return routes.map((route) => ({ ...route, ...read[route.name] }))
}
