import { option, readOptions } from '@quintet/core/kit'
import type { PlannedRoute } from './plan.ts'

const names = option.list(
  option.text(undefined, {
    pattern: /^[a-z][a-z0-9-]*$/,
    expected: 'a name such as "oauth-authorization-server"',
  }),
)

/**
 * Routes for well-known resources whose clients put `/.well-known/<name>` between the origin and the path of what they ask
 * about, e.g. `/.well-known/oauth-authorization-server/api/auth`. `wellKnown` has their names by app.
 *
 * @throws TypeError for an app that the gateway does not lead to, and for what is no name.
 * @see RFC 8414 section 3.1, RFC 8615
 */
export function planWellKnown(
  wellKnown: unknown,
  routes: readonly PlannedRoute[],
  path: string,
): readonly PlannedRoute[] {
  if (wellKnown === undefined) return []
  const api = routes.filter((route) => route.path === `/api/${route.name}/`)
  const spec = Object.fromEntries(api.map(({ name }) => [name, names]))
  const read = readOptions(wellKnown as Record<string, readonly string[]>, spec, path)
  return api.flatMap((route) =>
    (read[route.name] ?? []).map((name) => ({
      ...route,
      name: `${route.name}-${name}`,
      path: `/.well-known/${name}${route.path}`,
      upstreamPath: `/.well-known/${name}`,
      websocket: false,
    })),
  )
}
