import type { IncomingMessage } from 'node:http'
import {
  apiSecurityHeaders,
  resolveSecurityHeaders,
  strictTransportSecurity,
  type SecurityHeaders,
} from '@quintet/core/http'
import {
  option,
  parseDuration,
  readOptions,
  type Credentials,
  type HttpPlugin,
  type ResolvedOptions,
} from '@quintet/core/kit'
import type { Duration, Size } from '@quintet/core'
import type { SchemaConverter } from '../openapi/json-schema.ts'
import type { OpenApiOptions } from '../openapi/openapi-options.ts'
import { compressionDefaults, type CompressionOptions } from '../request/content-coding.ts'
import { resolveCors, type CorsOptions } from '../request/cors.ts'
import { parseTrustedProxies } from '../request/trusted-proxies.ts'
import { accessRule, pathForm } from './option-kinds.ts'
import { resolveSharedWebSocket, type SharedWebSocketOptions } from './socket-options.ts'

export interface HttpOptions {
  /** The transport's name in its process. @defaultValue `'http'` */
  readonly name?: string
  /** 0 takes any free port. A port given from outside (`TransportHost.port`) wins. @defaultValue 0 */
  readonly port?: number
  /** Reachable from this machine alone unless another address is given, e.g. `'0.0.0.0'`. @defaultValue `'127.0.0.1'` */
  readonly host?: string
  /** Listen on a socket that the process has inherited, by its file descriptor, in place of `host` and `port`: see `inheritedSockets` of `@quintet/core/http`. What is given from outside wins. @defaultValue undefined */
  readonly fd?: number
  /** The origins whose pages may call, e.g. `['https://app.example']`. @defaultValue false */
  readonly cors?: false | readonly string[] | CorsOptions
  /** How long the body of an RPC may take to arrive, and a route to answer; 0 for no limit. @defaultValue `'120s'` */
  readonly requestTimeout?: Duration
  /** How long the headers of a request may take to arrive; 0 for no limit. Not above `requestTimeout`. @defaultValue `'60s'` */
  readonly headersTimeout?: Duration
  /** How long an idle connection is kept. Above that of the balancer in front. @defaultValue `'65s'` */
  readonly keepAliveTimeout?: Duration
  /** The largest body of a route. Streamed, never buffered. @defaultValue `'10mb'` */
  readonly maxRequestSize?: Size
  /** How long the body of a route may be slower than `uploadPace` while the handler wants more; 0 for no limit. @defaultValue `'30s'` */
  readonly uploadProgressTimeout?: Duration
  /** How much of the body of a route must come in a second, over `uploadProgressTimeout`; with 0 any byte will do. @defaultValue `'1kb'` */
  readonly uploadPace?: Size
  /** How long the body of a route may take in all; 0 for no limit. @defaultValue `'12h'` */
  readonly uploadTimeout?: Duration
  /** Connections at once; more are closed. @defaultValue 10 000 */
  readonly maxConnections?: number
  /** Calls in one batch. @defaultValue 32 */
  readonly maxBatchCalls?: number
  /** The body of one batch; each call keeps its procedure's own limit too. @defaultValue `'1mb'` */
  readonly maxBatchSize?: Size
  /** Answer requests before the pipeline, e.g. probes. @defaultValue [] */
  readonly plugins?: readonly HttpPlugin[]
  /** Headers of every answer, by name; `false` drops one, and for all, every one. @defaultValue nosniff, no framing, no referrer, and HSTS in production */
  readonly securityHeaders?: SecurityHeaders
  /** Addresses or CIDR ranges whose `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix` are believed. @defaultValue [] */
  readonly trustedProxies?: readonly string[]
  /**
   * The origin under which clients know this server, e.g. `'https://api.example.com'`: proofs of possession (DPoP) must be
   * for it. Without it they are held against the `Host` header, which is what the client says.
   */
  readonly origin?: string
  /** Compress text of at least this size, for clients that can. @defaultValue `{ threshold: '4kb' }` */
  readonly compression?: false | CompressionOptions
  /** Serve the OpenAPI document, and a page to read it. @defaultValue `{ path: '/openapi.json', docs: '/docs', access: 'public' }` */
  readonly openapi?: false | OpenApiOptions
  /** Take WebSocket connections on the same port; they count among `maxConnections`. @defaultValue false */
  readonly websocket?: false | SharedWebSocketOptions
  /**
   * Replaces the global `Request` of the process by one that takes the requests of routes too: for middleware that calls
   * `new Request(request, …)`, such as Hono's `bodyLimit`. The runtime's own constructor takes none but its own.
   * @defaultValue false
   */
  readonly adoptRequests?: boolean
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
      | 'uploadPace'
      | 'uploadTimeout'
      | 'maxConnections'
      | 'maxBatchCalls'
      | 'maxBatchSize'
      | 'adoptRequests'
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
  uploadPace: '1kb',
  uploadTimeout: '12h',
  maxConnections: 10_000,
  maxBatchCalls: 32,
  maxBatchSize: '1mb',
  adoptRequests: false,
  openapi: Object.freeze({ path: '/openapi.json', docs: '/docs', access: 'public' }),
})

/** Scheme and host, in the form in which clients write them. */
const originForm = /^https?:\/\/(?:[a-z0-9-]+(?:\.[a-z0-9-]+)*|\[[0-9a-f:]+\])(?::\d{1,5})?$/

const openApiSpec = {
  path: option.text(httpDefaults.openapi.path, pathForm),
  docs: option.text('/docs', pathForm).orFalse(),
  access: accessRule(httpDefaults.openapi.access),
  converters: option.record(option.function<SchemaConverter>()),
}

const spec = {
  name: option.text(httpDefaults.name),
  port: option.port(httpDefaults.port),
  host: option.host(httpDefaults.host),
  fd: option.descriptor().optional(),
  cors: option.parsed('an allow-list of origins, or false', resolveCors).optional(),
  requestTimeout: option.delay(httpDefaults.requestTimeout),
  headersTimeout: option.delay().optional(),
  keepAliveTimeout: option.delay(httpDefaults.keepAliveTimeout),
  maxRequestSize: option.size(httpDefaults.maxRequestSize),
  uploadProgressTimeout: option.delay(httpDefaults.uploadProgressTimeout),
  uploadPace: option.size(httpDefaults.uploadPace),
  uploadTimeout: option.delay(httpDefaults.uploadTimeout),
  maxConnections: option.count(httpDefaults.maxConnections, { min: 1 }),
  maxBatchCalls: option.count(httpDefaults.maxBatchCalls, { min: 1 }),
  maxBatchSize: option.size(httpDefaults.maxBatchSize),
  plugins: option.list(option.collaborator<HttpPlugin>(['start', 'handle'], 'a plugin')),
  securityHeaders: option
    .parsed('headers by name, or false', (given, path) => resolveHeaders(given as SecurityHeaders, path))
    .optional(),
  trustedProxies: option.list(option.address()).map(parseTrustedProxies),
  origin: option
    .text(undefined, { pattern: originForm, expected: 'an origin such as "https://api.example.com"' })
    .optional(),
  compression: option.nested({ threshold: option.size(compressionDefaults.threshold) }).orFalse(),
  openapi: option.nested(openApiSpec).orFalse(),
  websocket: option
    .parsed('the options of websocket(), or false', (given, path) =>
      resolveSharedWebSocket(given as false | SharedWebSocketOptions, path),
    )
    .optional(),
  adoptRequests: option.boolean(httpDefaults.adoptRequests),
  credentials: option.function<(request: IncomingMessage) => Credentials>().optional(),
}

type Read = ResolvedOptions<typeof spec>

export type ResolvedHttpOptions = Omit<
  Read,
  'headersTimeout' | 'securityHeaders' | 'compression' | 'openapi' | 'origin'
> & {
  readonly headersTimeout: number
  /** A flat list of names and values. */
  readonly securityHeaders: readonly string[]
  /** Bytes from which text is compressed; undefined for never. */
  readonly compression: number | undefined
  readonly openapi: Required<OpenApiOptions> | undefined
}

/** @throws TypeError when an option is unknown, malformed or contradicts another. */
export function resolveHttp(options: HttpOptions): ResolvedHttpOptions {
  const read = readOptions(options, spec, 'http', {
    check({ fd, requestTimeout, headersTimeout }, note) {
      if (fd !== undefined && options.port !== undefined)
        note('fd', 'contradicts http.port: the socket has a port already. Leave one of them out.')
      if (requestTimeout === 0 || headersTimeout === undefined || headersTimeout <= requestTimeout) return
      note(
        'headersTimeout',
        `${String(headersTimeout)} ms is above http.requestTimeout (${String(requestTimeout)} ms). ` +
          'The headers are part of the request, so they cannot be given longer. Raise requestTimeout or lower headersTimeout.',
      )
    },
  })
  const { requestTimeout, compression, origin, ...rest } = read
  const trustedProxies =
    origin === undefined ? read.trustedProxies : { ...read.trustedProxies, origin: () => origin }
  const headersTimeout = read.headersTimeout ?? parseDuration(httpDefaults.headersTimeout)
  return Object.freeze({
    ...rest,
    requestTimeout,
    trustedProxies,
    // The default gives way to a shorter request timeout.
    headersTimeout: requestTimeout > 0 ? Math.min(headersTimeout, requestTimeout) : headersTimeout,
    securityHeaders: read.securityHeaders ?? resolveHeaders(undefined, 'http.securityHeaders'),
    compression: compression === false ? undefined : compression.threshold,
    openapi: read.openapi === false ? undefined : read.openapi,
    websocket: read.websocket && { ...read.websocket, trustedProxies },
  })
}

function resolveHeaders(headers: SecurityHeaders | undefined, path: string): readonly string[] {
  const production = process.env['NODE_ENV'] === 'production'
  const defaults = {
    ...apiSecurityHeaders,
    ...(production ? { 'strict-transport-security': strictTransportSecurity } : {}),
  }
  return resolveSecurityHeaders(headers, defaults, path)
}
