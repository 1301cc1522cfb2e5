import type { AccessRule, Duration, Size } from '@quintet/core'
import { option, readOptions, type ResolvedOptions, type SocketProtocol } from '@quintet/core/kit'
import { parseOrigin } from '../request/cors.ts'
import { parseTrustedProxies } from '../request/trusted-proxies.ts'
import { accessRule, pathForm } from './option-kinds.ts'

export interface WebSocketOptions {
  /** The transport's name in its process. @defaultValue `'websocket'` */
  readonly name?: string
  /** 0 takes any free port. A port given from outside (`TransportHost.port`) wins. @defaultValue 0 */
  readonly port?: number
  /** @defaultValue `'127.0.0.1'` */
  readonly host?: string
  /** Listen on a socket that the process has inherited, by its file descriptor, in place of `host` and `port`: see `inheritedSockets` of `@quintet/core/http`. What is given from outside wins. @defaultValue undefined */
  readonly fd?: number
  /** Where connections are made. @defaultValue `'/ws'` */
  readonly path?: string
  /** The origins whose pages may connect. Clients that are no browsers send none and are not held to this. @defaultValue [] */
  readonly origins?: readonly string[]
  /** Who may connect; each message is authorized for itself besides. @defaultValue `'authenticated'` */
  readonly access?: AccessRule
  /** Conversations beside RPC, e.g. channels. @defaultValue [] */
  readonly protocols?: readonly SocketProtocol[]
  /** Addresses or CIDR ranges whose `X-Forwarded-For`, `-Proto`, `-Host` and `-Prefix` are believed. @defaultValue [] */
  readonly trustedProxies?: readonly string[]
  /** How often a quiet connection is asked whether it lives, and how long it may take to say so; an interval of 0 never asks. @defaultValue `{ interval: '30s', timeout: '10s' }` */
  readonly keepAlive?: { readonly interval?: Duration; readonly timeout?: Duration }
  /** From the first byte until the connection is accepted; 0 for no limit. @defaultValue `'10s'` */
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

/** The options of connections on the port of the HTTP transport, which has the name, the port, the host and the proxies. */
export type SharedWebSocketOptions = Omit<
  WebSocketOptions,
  'name' | 'port' | 'host' | 'fd' | 'trustedProxies'
>

const defaults = webSocketDefaults

const sharedSpec = {
  path: option.text(defaults.path, pathForm),
  origins: option.list(option.parsed('an origin', parseOrigin)).map((origins) => new Set(origins)),
  access: accessRule(defaults.access),
  protocols: option.list(option.collaborator<SocketProtocol>(['open'], 'a socket protocol')),
  keepAlive: option.nested({
    interval: option.delay(defaults.keepAlive.interval),
    timeout: option.delay(defaults.keepAlive.timeout, { min: 1 }),
  }),
  handshakeTimeout: option.delay(defaults.handshakeTimeout),
  maxPayload: option.size(defaults.maxPayload, { min: 1 }),
  maxBufferedBytes: option.size(defaults.maxBufferedBytes),
  slowConsumer: option.oneOf(['disconnect', 'drop'], defaults.slowConsumer),
  maxConnections: option.count(defaults.maxConnections, { min: 1 }),
  maxConnectionsPerUser: option.count(defaults.maxConnectionsPerUser, { min: 1 }),
}

const spec = {
  ...sharedSpec,
  name: option.text(defaults.name),
  port: option.port(defaults.port),
  host: option.host(defaults.host),
  fd: option.descriptor().optional(),
  trustedProxies: option.list(option.address()).map(parseTrustedProxies),
}

export type ResolvedWebSocketOptions = ResolvedOptions<typeof spec>

/** @throws TypeError when an option is unknown or malformed. */
export function resolveWebSocket(options: WebSocketOptions): ResolvedWebSocketOptions {
  return readOptions(options, spec, 'websocket', {
    check({ fd }, note) {
      if (fd !== undefined && options.port !== undefined)
        note('fd', 'contradicts websocket.port: the socket has a port already. Leave one of them out.')
    },
  })
}

/** @throws TypeError when an option is unknown or malformed. */
export function resolveSharedWebSocket(
  options: false | SharedWebSocketOptions,
  path: string,
): ResolvedWebSocketOptions | undefined {
  if (options === false) return undefined
  return { ...resolveWebSocket({}), ...readOptions(options, sharedSpec, path) }
}
