/** The part of a route by which it is found. */
export interface RoutePath {
  /** Starts and ends with a slash. */
  readonly path: string
  readonly stripPrefix: boolean
  /** What takes the place of `path` where that is stripped. */
  readonly upstreamPath: string
}

export interface RouteMatch<R extends RoutePath> {
  readonly route: R
  /** The path that the upstream is asked for. */
  readonly path: string
}

/** Finds the route with the longest path that is a prefix of the request's, on the boundary of a segment. */
export interface RouteTable<R extends RoutePath> {
  match(path: string): RouteMatch<R> | undefined
}

export function createRouteTable<R extends RoutePath>(routes: readonly R[]): RouteTable<R> {
  const longestFirst = routes.toSorted((a, b) => b.path.length - a.path.length)
  return {
    match(path) {
      for (const route of longestFirst) {
        if (path.startsWith(route.path)) {
          return {
            route,
            path: route.stripPrefix ? replaceFront(route, path.slice(route.path.length)) : path,
          }
        }
        if (path.length === route.path.length - 1 && route.path.startsWith(path)) {
          return { route, path: route.stripPrefix ? route.upstreamPath : path }
        }
      }
      return undefined
    },
  }
}

/** With nothing behind it, the upstream's path is asked for exactly as it was given. */
function replaceFront({ upstreamPath }: RoutePath, rest: string): string {
  if (upstreamPath === '/' || rest.startsWith('/')) return `/${rest}`
  if (rest === '') return upstreamPath
  return upstreamPath.endsWith('/') ? upstreamPath + rest : `${upstreamPath}/${rest}`
}
