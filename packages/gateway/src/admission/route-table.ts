/** The part of a route by which it is found. */
export interface RoutePath {
  /** Starts and ends with a slash. */
  readonly path: string
  readonly stripPrefix: boolean
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
          return { route, path: route.stripPrefix ? path.slice(route.path.length - 1) : path }
        }
        if (path.length === route.path.length - 1 && route.path.startsWith(path)) {
          return { route, path: route.stripPrefix ? '/' : path }
        }
      }
      return undefined
    },
  }
}
