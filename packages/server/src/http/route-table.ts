import type { Route } from '@quintet/core'
import { type Operation, routeOperation } from '@quintet/core/kit'
import { RegExpRouter } from 'hono/router/reg-exp-router'
import { SmartRouter } from 'hono/router/smart-router'
import { TrieRouter } from 'hono/router/trie-router'

/** A route that matches a request, with its parameters. */
export interface RouteMatch {
  readonly route: Route
  readonly operation: Operation
  /** Milliseconds until the handler must have answered; 0 for no limit. */
  readonly timeout: number
  readonly params: Readonly<Record<string, string>>
}

export interface RouteTable {
  /** The routes that match, in the order of their definition. `HEAD` also finds those for `GET`. */
  match(method: string, path: string): readonly RouteMatch[]
  /** The methods under which a path can be asked for. */
  allowed(path: string): readonly string[]
}

interface Entry {
  readonly route: Route
  readonly operation: Operation
  readonly timeout: number
  /** How many segments of the path come before the trailing wildcard; undefined without one. */
  readonly wildcardAt: number | undefined
}

/** @throws TypeError when a pattern is reserved or cannot be matched. */
export function createRouteTable(routes: readonly Route[], defaultTimeout: number): RouteTable {
  const router = new SmartRouter<Entry>({ routers: [new RegExpRouter<Entry>(), new TrieRouter<Entry>()] })
  for (const route of routes) {
    if (/^\/rpc(?:\/|$)/.test(route.pattern)) {
      throw new TypeError(`route ${route.method} ${route.pattern}: paths under /rpc belong to procedures.`)
    }
    router.add(route.method, route.pattern, {
      route,
      // The time of a route is counted from the last byte of its body, so it is not the pipeline that counts it.
      operation: Object.freeze({ ...routeOperation(route, 0), timeout: 0 }),
      timeout: route.timeout ?? defaultTimeout,
      wildcardAt: route.pattern.endsWith('/*') ? route.pattern.split('/').length - 1 : undefined,
    })
  }
  const methods = [...new Set(routes.map(({ method }) => method))]

  const find = (method: string, path: string): RouteMatch[] => {
    const [found, stash] = router.match(method, path)
    return found.map(([entry, values]) => ({ ...entry, params: readParams(entry, values, stash, path) }))
  }
  return {
    match(method, path) {
      if (routes.length === 0) return []
      const found = find(method, path)
      return found.length === 0 && method === 'HEAD' ? find('GET', path) : found
    },
    allowed(path) {
      const found: string[] = methods.filter((method) => find(method, path).length > 0)
      if (found.includes('GET') && !found.includes('HEAD')) found.push('HEAD')
      return found
    },
  }
}

function readParams(
  entry: Entry,
  values: Readonly<Record<string, string | number>>,
  stash: readonly string[] | undefined,
  path: string,
): Readonly<Record<string, string>> {
  const params: Record<string, string> = Object.create(null) as Record<string, string>
  for (const [name, value] of Object.entries(values)) {
    const text = typeof value === 'number' ? stash?.[value] : value
    if (text !== undefined) params[name] = decodeURIComponent(text)
  }
  if (entry.wildcardAt !== undefined) {
    params['*'] = decodeURIComponent(path.split('/').slice(entry.wildcardAt).join('/'))
  }
  return params
}
