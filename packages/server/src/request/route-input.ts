import type { IncomingMessage } from 'node:http'
import type { Route, Schema } from '@quintet/core'
import { validate } from '@quintet/core/kit'
import { parseQuery } from './query-input.ts'

/** The values of a request that a route's schemas describe. */
export interface RouteInput {
  readonly params: unknown
  readonly query: unknown
  readonly headers: unknown
  readonly body: unknown
}

/**
 * Holds the parts of a request to the schemas of its route.
 *
 * @param readBody gives the JSON of the body; called for a route that describes it, when the rest is valid.
 * @throws QuintetError `ERR_CORE_INVALID_INPUT` with the place of each issue, e.g. `/query/limit`.
 */
export async function readRouteInput(
  route: Route,
  request: IncomingMessage,
  params: unknown,
  readBody: () => Promise<unknown>,
): Promise<RouteInput> {
  return {
    params: route.params === undefined ? params : await validate(route.params, params, '/params'),
    query: await read(route.query, () => readQuery(request.url ?? '/'), '/query'),
    headers: await read(route.headers, () => ({ ...request.headers }), '/headers'),
    body: await read(route.body, readBody, '/body'),
  }
}

/** Whether there is anything to be held to a schema. */
export function describesInput({ params, query, headers, body }: Route): boolean {
  return params !== undefined || query !== undefined || headers !== undefined || body !== undefined
}

async function read(schema: Schema | undefined, get: () => unknown, place: string): Promise<unknown> {
  return schema === undefined ? undefined : await validate(schema, await get(), place)
}

/** A string for each parameter of a query, a list of strings for one that is repeated. */
function readQuery(target: string): Record<string, string | readonly string[]> {
  const parameters = parseQuery(target)
  const names = new Set(parameters.keys())
  return Object.fromEntries(
    [...names].map((name) => {
      const values = parameters.getAll(name)
      return [name, values.length === 1 ? (values[0] ?? '') : values]
    }),
  )
}
