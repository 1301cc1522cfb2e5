import type { AccessRule, Duration, Size } from '@quintet/core'
import {
  assertAccessRule,
  parseDuration,
  parseSize,
  refuseUnknownKeys,
  type SocketProtocol,
} from '@quintet/core/kit'
import { parseOrigin } from '../request/cors.ts'
import { parseCount, parsePort } from './option-values.ts'

export interface WebSocketOptions {
  /** The transport's name in its process. @defaultValue `'websocket'` */
  readonly name?: string
  /** 0 takes any free port. A port given from outside (`TransportHost.port`) wins. @defaultValue 0 */
  readonly port?: number
  /** @defaultValue `'127.0.0.1'` */
  readonly host?: string
  /** Where connections are made. @defaultValue `'/ws'` */
  readonly path?: string
  /** The origins whose pages may connect. Clients that are no browsers send none and are not held to this. @defaultValue [] */
  readonly origins?: readonly string[]
  /** Who may connect; each message is authorized for itself besides. @defaultValue `'authenticated'` */
  readonly access?: AccessRule
  /** Conversations beside RPC, e.g. channels. @defaultValue [] */
  readonly protocols?: readonly SocketProtocol[]
  /** How often a quiet connection is asked whether it lives, and how long it may take to say so. @defaultValue `{ interval: '30s', timeout: '10s' }` */
  readonly keepAlive?: { readonly interval?: Duration; readonly timeout?: Duration }
  /** From the first byte until the connection is accepted. @defaultValue `'10s'` */
  readonly handshakeTimeout?: Duration
  /** The largest message of a client. @defaultValue `'1mb'` */
  readonly maxPayload?: Size
  /** What may wait to be sent on one connection. @defaultValue `'1mb'` */
  readonly maxBufferedBytes?: Size
  /** What becomes of a client that reads too slowly: its connection is closed with 4008, or messages are dropped. @defaultValue `'disconnect'` */
  readonly slowConsumer?: 'disconnect' | 'drop'
  /** Connections at once. @defaultValue 10 000 */
  readonly maxConnections?: number
  /** Connections of one user at once. @defaultValue 20 */
  readonly maxConnectionsPerUser?: number
}

/** What applies where {@link WebSocketOptions} says nothing. */
export const webSocketDefaults: Readonly<
  Required<
    Pick<
      WebSocketOptions,
      | 'name'
      | 'port'
      | 'host'
      | 'path'
      | 'access'
      | 'handshakeTimeout'
      | 'maxPayload'
      | 'maxBufferedBytes'
      | 'slowConsumer'
      | 'maxConnections'
      | 'maxConnectionsPerUser'
    >
  > & { keepAlive: Required<NonNullable<WebSocketOptions['keepAlive']>> }
> = Object.freeze({
  name: 'websocket',
  port: 0,
  host: '127.0.0.1',
  path: '/ws',
  access: 'authenticated',
  keepAlive: Object.freeze({ interval: '30s', timeout: '10s' }),
  handshakeTimeout: '10s',
  maxPayload: '1mb',
  maxBufferedBytes: '1mb',
  slowConsumer: 'disconnect',
  maxConnections: 10_000,
  maxConnectionsPerUser: 20,
})

export interface ResolvedWebSocketOptions {
  readonly name: string
  readonly port: number
  readonly host: string
  readonly path: string
  readonly origins: ReadonlySet<string>
  readonly access: AccessRule
  readonly protocols: readonly SocketProtocol[]
  readonly keepAlive: { readonly interval: number; readonly timeout: number }
  readonly handshakeTimeout: number
  readonly maxPayload: number
  readonly maxBufferedBytes: number
  readonly slowConsumer: 'disconnect' | 'drop'
  readonly maxConnections: number
  readonly maxConnectionsPerUser: number
}

const knownKeys = [
  'name',
  'port',
  'host',
  'path',
  'origins',
  'access',
  'protocols',
  'keepAlive',
  'handshakeTimeout',
  'maxPayload',
  'maxBufferedBytes',
  'slowConsumer',
  'maxConnections',
  'maxConnectionsPerUser',
] as const satisfies readonly (keyof WebSocketOptions)[]

/** The options of connections on the port of the HTTP transport, which has the name, the port and the host. */
export type SharedWebSocketOptions = Omit<WebSocketOptions, 'name' | 'port' | 'host'>

/** @throws TypeError when an option is unknown or malformed. */
export function resolveSharedWebSocketOptions(
  options: SharedWebSocketOptions,
  path: string,
): ResolvedWebSocketOptions {
  const shared = knownKeys.filter((key) => key !== 'name' && key !== 'port' && key !== 'host')
  refuseUnknownKeys(options, shared, path)
  return resolveWebSocketOptions(options, path)
}

/** @throws TypeError when an option is unknown or malformed. */
export function resolveWebSocketOptions(
  options: WebSocketOptions,
  at = 'websocket',
): ResolvedWebSocketOptions {
  refuseUnknownKeys(options, knownKeys, at)
  if (options.keepAlive !== undefined)
    refuseUnknownKeys(options.keepAlive, ['interval', 'timeout'], `${at}.keepAlive`)
  const defaults = webSocketDefaults
  const access = options.access ?? defaults.access
  assertAccessRule(access, `${at}.access`)
  const path = options.path ?? defaults.path
  if (!path.startsWith('/')) throw new TypeError(`${at}.path: ${JSON.stringify(path)} must start with "/".`)
  const slowConsumer = options.slowConsumer ?? defaults.slowConsumer
  if (slowConsumer !== 'disconnect' && slowConsumer !== 'drop') {
    throw new TypeError(`${at}.slowConsumer: ${JSON.stringify(slowConsumer)} must be 'disconnect' or 'drop'.`)
  }
  return Object.freeze({
    name: options.name ?? defaults.name,
    port: parsePort(options.port ?? defaults.port, `${at}.port`),
    host: options.host ?? defaults.host,
    path,
    origins: new Set((options.origins ?? []).map(parseOrigin)),
    access,
    protocols: [...(options.protocols ?? [])],
    keepAlive: {
      interval: parseDuration(
        options.keepAlive?.interval ?? defaults.keepAlive.interval,
        `${at}.keepAlive.interval`,
      ),
      timeout: parseDuration(
        options.keepAlive?.timeout ?? defaults.keepAlive.timeout,
        `${at}.keepAlive.timeout`,
      ),
    },
    handshakeTimeout: parseDuration(
      options.handshakeTimeout ?? defaults.handshakeTimeout,
      `${at}.handshakeTimeout`,
    ),
    maxPayload: parseSize(options.maxPayload ?? defaults.maxPayload, `${at}.maxPayload`),
    maxBufferedBytes: parseSize(
      options.maxBufferedBytes ?? defaults.maxBufferedBytes,
      `${at}.maxBufferedBytes`,
    ),
    slowConsumer,
    maxConnections: parseCount(options.maxConnections ?? defaults.maxConnections, `${at}.maxConnections`),
    maxConnectionsPerUser: parseCount(
      options.maxConnectionsPerUser ?? defaults.maxConnectionsPerUser,
      `${at}.maxConnectionsPerUser`,
    ),
  })
}
