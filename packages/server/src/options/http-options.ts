import type { IncomingMessage } from 'node:http'
import type { AccessRule, Duration, Size } from '@quintet/core'
import {
  type Credentials,
  type HttpPlugin,
  parseDuration,
  parseSize,
  refuseUnknownKeys,
} from '@quintet/core/kit'
import type { OpenApiOptions } from '../openapi/openapi-options.ts'
import {
  resolveSharedWebSocketOptions,
  type ResolvedWebSocketOptions,
  type SharedWebSocketOptions,
} from './socket-options.ts'
import { parseCount, parsePort } from './option-values.ts'
import { resolveCompression, type CompressionOptions } from '../request/content-coding.ts'
import { resolveCors, type Cors, type CorsOptions } from '../request/cors.ts'
import { resolveSecurityHeaders, type SecurityHeaders } from './security-headers.ts'
import { parseTrustedProxies, type TrustedProxies } from '../request/trusted-proxies.ts'

export interface HttpOptions {
  /** The transport's name in its process. @defaultValue `'http'` */
  readonly name?: string
  /** 0 takes any free port. A port given from outside (`TransportHost.port`) wins. @defaultValue 0 */
  readonly port?: number
  /** Reachable from this machine alone unless another address is given, e.g. `'0.0.0.0'`. @defaultValue `'127.0.0.1'` */
  readonly host?: string
  /** The origins whose pages may call, e.g. `['https://app.example']`. @defaultValue false */
  readonly cors?: false | readonly string[] | CorsOptions
  /** How long the body of an RPC may take to arrive, and a route to answer; 0 for no limit. @defaultValue `'120s'` */
  readonly requestTimeout?: Duration
  /** How long the headers of a request may take to arrive. Not above `requestTimeout`. @defaultValue `'60s'` */
  readonly headersTimeout?: Duration
  /** How long an idle connection is kept. Above that of the balancer in front. @defaultValue `'65s'` */
  readonly keepAliveTimeout?: Duration
  /** The largest body of a route. Streamed, never buffered. @defaultValue `'10mb'` */
  readonly maxRequestSize?: Size
  /** How long the body of a route may stand still while the handler wants more. @defaultValue `'30s'` */
  readonly uploadProgressTimeout?: Duration
  /** Connections at once; more are closed. @defaultValue 10 000 */
  readonly maxConnections?: number
  /** Calls in one batch. @defaultValue 32 */
  readonly maxBatchCalls?: number
  /** The body of one batch; each call keeps its procedure's own limit too. @defaultValue `'1mb'` */
  readonly maxBatchSize?: Size
  /** Answer requests before the pipeline, e.g. probes. @defaultValue [] */
  readonly plugins?: readonly HttpPlugin[]
  /** Headers of every answer, by name; `false` drops one, and for all, every one. @defaultValue those of {@link defaultSecurityHeaders} */
  readonly securityHeaders?: SecurityHeaders
  /** Addresses or CIDR ranges whose `X-Forwarded-Proto` and `X-Forwarded-Host` are believed. @defaultValue [] */
  readonly trustedProxies?: readonly string[]
  /** Compress text of at least this size, for clients that can. @defaultValue `{ threshold: '4kb' }` */
  readonly compression?: false | CompressionOptions
  /** Serve the OpenAPI document, and a page to read it. @defaultValue `{ path: '/openapi.json', docs: '/docs', access: 'public' }` */
  readonly openapi?: false | OpenApiOptions
  /** Take WebSocket connections on the same port; they count among `maxConnections`. @defaultValue false */
  readonly websocket?: false | SharedWebSocketOptions
  /** Where credentials are, if not in the `Authorization` header; e.g. in cookies. */
  readonly credentials?: (request: IncomingMessage) => Credentials
}

/** What applies where {@link HttpOptions} says nothing. */
export const httpDefaults: Readonly<
  Required<
    Pick<
      HttpOptions,
      | 'name'
      | 'port'
      | 'host'
      | 'requestTimeout'
      | 'headersTimeout'
      | 'keepAliveTimeout'
      | 'maxRequestSize'
      | 'uploadProgressTimeout'
      | 'maxConnections'
      | 'maxBatchCalls'
      | 'maxBatchSize'
    >
  > & { openapi: Required<Omit<OpenApiOptions, 'converters'>> }
> = Object.freeze({
  name: 'http',
  port: 0,
  host: '127.0.0.1',
  requestTimeout: '120s',
  headersTimeout: '60s',
  keepAliveTimeout: '65s',
  maxRequestSize: '10mb',
  uploadProgressTimeout: '30s',
  maxConnections: 10_000,
  maxBatchCalls: 32,
  maxBatchSize: '1mb',
  openapi: Object.freeze({ path: '/openapi.json', docs: '/docs', access: 'public' }),
})

export interface ResolvedHttpOptions {
  readonly name: string
  readonly port: number
  readonly host: string
  readonly cors: Cors | undefined
  readonly requestTimeout: number
  readonly headersTimeout: number
  readonly keepAliveTimeout: number
  readonly maxRequestSize: number
  readonly uploadProgressTimeout: number
  readonly maxConnections: number
  readonly maxBatchCalls: number
  readonly maxBatchSize: number
  readonly plugins: readonly HttpPlugin[]
  readonly securityHeaders: readonly string[]
  readonly trustedProxies: TrustedProxies
  /** Bytes from which text is compressed; undefined for never. */
  readonly compression: number | undefined
  readonly openapi: Required<OpenApiOptions> | undefined
  readonly websocket: ResolvedWebSocketOptions | undefined
  readonly credentials: ((request: IncomingMessage) => Credentials) | undefined
}

const knownKeys = [
  'name',
  'port',
  'host',
  'cors',
  'requestTimeout',
  'headersTimeout',
  'keepAliveTimeout',
  'maxRequestSize',
  'uploadProgressTimeout',
  'maxConnections',
  'maxBatchCalls',
  'maxBatchSize',
  'plugins',
  'securityHeaders',
  'trustedProxies',
  'compression',
  'openapi',
  'websocket',
  'credentials',
] as const satisfies readonly (keyof HttpOptions)[]

/** @throws TypeError when an option is unknown, malformed or contradicts another. */
export function resolveHttpOptions(options: HttpOptions): ResolvedHttpOptions {
  refuseUnknownKeys(options, knownKeys, 'http')
  const given = { ...httpDefaults, ...withoutUndefined(options) }
  const requestTimeout = parseDuration(given.requestTimeout, 'http.requestTimeout')
  const headersTimeout = parseDuration(given.headersTimeout, 'http.headersTimeout')
  if (requestTimeout > 0 && headersTimeout > requestTimeout) {
    // The default gives way to a shorter request timeout; a value that was asked for does not.
    if (options.headersTimeout !== undefined) {
      throw new TypeError(
        `http.headersTimeout: ${String(headersTimeout)} ms is above http.requestTimeout (${String(requestTimeout)} ms). ` +
          'The headers are part of the request, so they cannot be given longer. Raise requestTimeout or lower headersTimeout.',
      )
    }
  }
  return Object.freeze({
    name: given.name,
    port: parsePort(given.port, 'http.port'),
    host: given.host,
    cors: resolveCors(options.cors),
    requestTimeout,
    headersTimeout: requestTimeout > 0 ? Math.min(headersTimeout, requestTimeout) : headersTimeout,
    keepAliveTimeout: parseDuration(given.keepAliveTimeout, 'http.keepAliveTimeout'),
    maxRequestSize: parseSize(given.maxRequestSize, 'http.maxRequestSize'),
    uploadProgressTimeout: parseDuration(given.uploadProgressTimeout, 'http.uploadProgressTimeout'),
    maxConnections: parseCount(given.maxConnections, 'http.maxConnections'),
    maxBatchCalls: parseCount(given.maxBatchCalls, 'http.maxBatchCalls'),
    maxBatchSize: parseSize(given.maxBatchSize, 'http.maxBatchSize'),
    plugins: [...(options.plugins ?? [])],
    securityHeaders: resolveSecurityHeaders(
      options.securityHeaders,
      process.env['NODE_ENV'] === 'production',
    ),
    trustedProxies: parseTrustedProxies(options.trustedProxies ?? []),
    compression: resolveCompression(options.compression),
    openapi: resolveOpenApi(options.openapi),
    websocket: options.websocket
      ? resolveSharedWebSocketOptions(options.websocket, 'http.websocket')
      : undefined,
    credentials: options.credentials,
  })
}

function resolveOpenApi(options: HttpOptions['openapi']): Required<OpenApiOptions> | undefined {
  if (options === false) return undefined
  if (options !== undefined)
    refuseUnknownKeys(options, ['path', 'docs', 'access', 'converters'], 'http.openapi')
  return { ...httpDefaults.openapi, converters: {}, ...withoutUndefined(options ?? {}) }
}

function withoutUndefined<T extends object>(value: T): Partial<T> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Partial<T>
}
