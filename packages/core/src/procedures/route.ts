import type { AccessRule, PrincipalFor } from '../access/access-rule.ts'
import type { ClientInfo } from '../pipeline/client-info.ts'
import type { Duration } from '../options/duration.ts'
import type { Logger } from '../logging/logger.ts'
import type { Principal } from '../access/principal.ts'
import type { Schema, SchemaInput, SchemaOutput } from './schema.ts'
import type { Size } from '../options/size.ts'

export type RouteMethod = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS'

/** What a route's handler gets beside the request. */
export interface RouteContext<
  Services,
  Caller extends Principal = Principal,
  Params = Readonly<Record<string, string>>,
  Query = undefined,
  Headers = undefined,
  Body = undefined,
> {
  /** Path parameters, decoded, or what their schema makes of them. `*` holds the rest of a wildcard pattern. */
  readonly params: Params
  /** What the schema makes of the query; undefined without one. */
  readonly query: Query
  /** What the schema makes of the headers; undefined without one. */
  readonly headers: Headers
  /** What the schema makes of the JSON body; undefined without one. */
  readonly body: Body
  readonly services: Services
  readonly principal: Caller
  /** Where the request comes from. */
  readonly client: ClientInfo
  readonly requestId: string
  readonly signal: AbortSignal
  readonly logger: Logger
}

/** What a handler gets for a schema of the request; what is there without one. */
export type RouteValue<S extends Schema | undefined, Without = undefined> = S extends Schema
  ? SchemaOutput<S>
  : Without

/** What a handler may answer: a `Response`, null for "not mine", and the value that its schema describes. */
export type RouteAnswer<Answer extends Schema | undefined> =
  | Response
  | null
  | (Answer extends Schema ? SchemaInput<Answer> : never)

export interface RouteOptions<
  Access extends AccessRule,
  Services = unknown,
  Params extends Schema | undefined = undefined,
  Query extends Schema | undefined = undefined,
  Headers extends Schema | undefined = undefined,
  Body extends Schema | undefined = undefined,
  Answer extends Schema | undefined = undefined,
> {
  readonly method: RouteMethod
  /** Hono's syntax: `/objects/:id`, `/render/image/*`. */
  readonly pattern: string
  readonly access: Access
  readonly description?: string
  /** The largest request body. Streamed, never buffered. @defaultValue the transport's `maxRequestSize` */
  readonly maxRequestSize?: Size
  /** How long the handler may take until it has answered; 0 for no limit. @defaultValue the transport's `requestTimeout` */
  readonly timeout?: Duration
  readonly freshness?: 'strict'
  /** The schema of the path parameters, which are strings. */
  readonly params?: Params
  /** The schema of the query: a string for each parameter, a list of strings for one that is repeated. */
  readonly query?: Query
  /** The schema of the headers, by names in lower case. */
  readonly headers?: Headers
  /** The schema of the body, which is JSON then and read before the handler runs. Not for GET and HEAD. */
  readonly body?: Body
  /** The schema of the result: the handler may return a value then, which is sent as JSON. */
  readonly response?: Answer
  /** Answers, or returns null for "not mine": the next matching route is asked, and 404 ends it. */
  readonly handler: (
    request: Request,
    context: RouteContext<
      Services,
      PrincipalFor<Access>,
      RouteValue<Params, Readonly<Record<string, string>>>,
      RouteValue<Query>,
      RouteValue<Headers>,
      RouteValue<Body>
    >,
  ) => RouteAnswer<Answer> | Promise<RouteAnswer<Answer>>
}

/** A custom HTTP route: a Web `Request` in, a `Response` or null out, through the pipeline like everything else. */
export interface Route {
  readonly method: RouteMethod
  readonly pattern: string
  readonly access: AccessRule
  readonly description: string
  readonly maxRequestSize: number | undefined
  readonly timeout: number | undefined
  readonly freshness: 'strict' | undefined
  readonly params: Schema | undefined
  readonly query: Schema | undefined
  readonly headers: Schema | undefined
  readonly body: Schema | undefined
  readonly response: Schema | undefined
  readonly handler: (
    request: Request,
    context: RouteContext<never, never, never, never, never, never>,
  ) => unknown
}
