import type { AccessRule, PrincipalFor } from '../access/access-rule.ts'
import type { ClientInfo } from '../pipeline/client-info.ts'
import type { Duration } from '../options/duration.ts'
import type { Logger } from '../logging/logger.ts'
import type { Principal } from '../access/principal.ts'
import type { Size } from '../options/size.ts'

export type RouteMethod = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE' | 'OPTIONS'

/** What a route's handler gets beside the request. */
export interface RouteContext<Services, Caller extends Principal = Principal> {
  /** Path parameters, decoded. `*` holds the rest of a wildcard pattern. */
  readonly params: Readonly<Record<string, string>>
  readonly services: Services
  readonly principal: Caller
  /** Where the request comes from. */
  readonly client: ClientInfo
  readonly requestId: string
  readonly signal: AbortSignal
  readonly logger: Logger
}

export interface RouteOptions<Access extends AccessRule, Services = unknown> {
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
  /** Answers, or returns null for "not mine": the next matching route is asked, and 404 ends it. */
  readonly handler: (
    request: Request,
    context: RouteContext<Services, PrincipalFor<Access>>,
  ) => Response | null | Promise<Response | null>
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
  readonly handler: (
    request: Request,
    context: RouteContext<never, never>,
  ) => Response | null | Promise<Response | null>
}
