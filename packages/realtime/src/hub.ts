import { randomUUID } from 'node:crypto'
import { STATUS_CODES, type IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import {
  createPipeline,
  noCredentials,
  parseDuration,
  parseSize,
  refuseUnknownKeys,
  silentLogger,
  toQuintetError,
  type AccessRule,
  type AuthManager,
  type Credentials,
  type Duration,
  type ErrorKind,
  type Logger,
  type Operation,
  type QuintetError,
  type Size,
  type StopReason,
} from '@quintet/core'
import { WebSocketServer, type WebSocket } from 'ws'
import type { RealtimeConnection } from './connection.ts'
import { createEngine } from './engine.ts'
import { RealtimeError } from './errors.ts'
import { channelsKeys, resolveChannelsOptions, type ChannelsOptions } from './options.ts'
import type { RealtimeSession } from './session.ts'
import { realtimeProtocolName } from './wire.ts'

export interface HubOptions extends ChannelsOptions {
  /** Verifies credentials. Without it, whoever shows any is refused, and only `public` channels can be used. */
  readonly auth?: AuthManager
  /** Who may connect. @defaultValue `'authenticated'` with `auth`, `'public'` without */
  readonly access?: AccessRule
  /** What `authorize` and `onMessage` get as `services`. */
  readonly services?: unknown
  readonly logger?: Logger
  /** The origins whose pages may connect, e.g. `https://app.example`. Clients that are no browsers send none. @defaultValue [] */
  readonly origins?: readonly string[]
  /** The largest message of a client. @defaultValue `'1mb'` */
  readonly maxPayload?: Size
  /** Connections at once. @defaultValue 10 000 */
  readonly maxConnections?: number
  /** How often a connection is asked whether it lives; one that has not answered by the next time is cut. @defaultValue `'30s'` */
  readonly keepAlive?: Duration
}

export const hubDefaults = Object.freeze({
  maxPayload: '1mb',
  maxConnections: 10_000,
  keepAlive: '30s',
} as const)

/** Channels over plain `ws`, for a server that is not Quintet's. */
export interface Hub extends AsyncDisposable {
  readonly connections: number
  /** For the `upgrade` event of a `node:http` server. Refuses in plain HTTP whoever may not connect. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>
  /** Takes nobody new, tells the clients, closes with 1001, and resolves when all are gone or the signal aborts. */
  drain(reason: StopReason, signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

interface Live {
  readonly socket: WebSocket
  readonly session: RealtimeSession
  answered: boolean
}

const statuses: Readonly<Partial<Record<ErrorKind, number>>> = {
  'invalid-input': 400,
  unauthenticated: 401,
  forbidden: 403,
  'rate-limited': 429,
  unavailable: 503,
  closed: 503,
}
const closeBatch = 200
const closePause = 50
const reconnectSpread = 5_000
const longestTimer = 2_147_483_647

/** @throws TypeError when an option is unknown or out of range. */
export function createHub(options: HubOptions): Hub {
  const {
    auth,
    access = auth ? 'authenticated' : 'public',
    services,
    logger = silentLogger,
    origins = [],
    maxPayload,
    maxConnections,
    keepAlive,
    ...rest
  } = options
  const own = ['auth', 'access', 'services', 'logger', 'origins', 'maxPayload', 'maxConnections', 'keepAlive']
  refuseUnknownKeys(options, [...own, ...channelsKeys], 'hub')
  const most = maxConnections ?? hubDefaults.maxConnections
  const pipeline = createPipeline({ logger, auth })
  const engine = createEngine(resolveChannelsOptions(rest), { pipeline, services, logger })
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload: parseSize(maxPayload ?? hubDefaults.maxPayload, 'hub.maxPayload'),
    perMessageDeflate: false,
    handleProtocols: () => realtimeProtocolName,
  })
  const live = new Set<Live>()
  const connect: Operation = {
    surface: 'message',
    name: 'hub connect',
    access,
    freshness: undefined,
    timeout: 10_000,
  }
  let draining = false
  let onEmpty: (() => void) | undefined

  const heartbeat = setInterval(
    () => {
      for (const each of live) {
        if (!each.answered) {
          each.socket.terminate()
          continue
        }
        each.answered = false
        each.socket.ping()
      }
    },
    parseDuration(keepAlive ?? hubDefaults.keepAlive, 'hub.keepAlive'),
  )

  function open(
    socket: WebSocket,
    credentials: Credentials,
    watch: (close: (reason: string) => void) => Disposable | undefined,
  ): void {
    const controller = new AbortController()
    const connection: RealtimeConnection = {
      id: randomUUID(),
      credentials,
      signal: controller.signal,
      send(message) {
        if (socket.readyState !== socket.OPEN) return false
        socket.send(message)
        return true
      },
      get bufferedBytes() {
        return socket.bufferedAmount
      },
      close(code, reason) {
        socket.close(code, reason)
        // The close frame of one who does not read waits behind all the rest.
        if (socket.bufferedAmount > 0) socket.terminate()
      },
    }
    const session = engine.open(connection)
    const entry: Live = { socket, session, answered: true }
    live.add(entry)
    const watching = watch((reason) => socket.close(4401, reason))
    socket.on('pong', () => (entry.answered = true))
    socket.on('error', () => undefined)
    socket.on('message', (data, isBinary) => {
      const bytes = Buffer.isBuffer(data)
        ? data
        : Array.isArray(data)
          ? Buffer.concat(data)
          : Buffer.from(data)
      session.message(isBinary ? bytes : bytes.toString('utf8'))
    })
    socket.once('close', (code) => {
      live.delete(entry)
      watching?.[Symbol.dispose]()
      controller.abort(new DOMException('The connection closed.', 'AbortError'))
      session.closed(code)
      if (live.size === 0) onEmpty?.()
    })
  }

  async function admit(request: IncomingMessage): Promise<{
    credentials: Credentials
    watch: (close: (reason: string) => void) => Disposable | undefined
  }> {
    if (draining) throw new RealtimeError('ERR_REALTIME_CLOSED', 'The server is about to stop.')
    if (live.size >= most)
      throw new RealtimeError('ERR_REALTIME_UNAVAILABLE', 'There are too many connections.')
    const { origin } = request.headers
    if (origin !== undefined && !origins.includes(origin))
      throw new RealtimeError('ERR_REALTIME_FORBIDDEN', 'This origin may not connect.')
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((entry) => entry.trim())
    if (!offered.includes(realtimeProtocolName))
      throw new RealtimeError('ERR_REALTIME_BAD_MESSAGE', `Offer the subprotocol ${realtimeProtocolName}.`)
    const credentials = credentialsOf(request, offered)
    const principal = await pipeline.authorize({
      operation: connect,
      credentials,
      requestId: randomUUID(),
      signal: AbortSignal.timeout(connect.timeout),
    })
    return {
      credentials,
      watch(close) {
        const watching = auth?.watch?.(principal, close)
        const expiresAt = principal.kind === 'user' ? principal.expiresAt : null
        const timer =
          expiresAt === null
            ? undefined
            : setTimeout(() => close('expired'), Math.min(longestTimer, Math.max(0, expiresAt - Date.now())))
        return {
          [Symbol.dispose]() {
            clearTimeout(timer)
            watching?.[Symbol.dispose]()
          },
        }
      },
    }
  }

  async function close(): Promise<void> {
    draining = true
    clearInterval(heartbeat)
    for (const { socket } of live) socket.terminate()
    await engine.close()
    server.close()
  }

  return {
    get connections() {
      return live.size
    },
    async handleUpgrade(request, socket, head) {
      socket.on('error', () => socket.destroy())
      try {
        const { credentials, watch } = await admit(request)
        if (socket.destroyed) return
        server.handleUpgrade(request, socket, head, (client) => open(client, credentials, watch))
      } catch (thrown) {
        refuse(socket, toQuintetError(thrown))
      }
    },
    async drain(reason, signal) {
      draining = true
      let told = 0
      for (const { socket, session } of Array.from(live)) {
        session.notifyShutdown(reason, 500 + Math.floor(Math.random() * reconnectSpread))
        void session.whenIdle().then(() => socket.close(1001, reason))
        if (++told % closeBatch === 0) await delay(closePause)
      }
      if (live.size === 0 || signal.aborted) return
      await new Promise<void>((resolve) => {
        onEmpty = resolve
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

function credentialsOf(request: IncomingMessage, offered: readonly string[]): Credentials {
  const fromHeader = /^bearer +([\w\-.~+/]+=*)$/i.exec(request.headers.authorization ?? '')?.[1]
  const entries = offered.filter((entry) => entry.startsWith('bearer.'))
  if (entries.length > 1 || (entries.length > 0 && request.headers.authorization !== undefined)) {
    throw new RealtimeError('ERR_REALTIME_BAD_MESSAGE', 'The token is given more than once.')
  }
  if (request.headers.authorization !== undefined && fromHeader === undefined)
    throw new RealtimeError('ERR_REALTIME_BAD_MESSAGE', 'The Authorization header is not understood.')
  const token = fromHeader ?? entries[0]?.slice('bearer.'.length)
  return token === undefined ? noCredentials : { scheme: 'bearer', token }
}

function refuse(socket: Duplex, error: QuintetError): void {
  const status = statuses[error.kind] ?? 500
  const detail = error.kind === 'internal' ? 'Something failed on our side.' : error.message
  const body = JSON.stringify({
    type: 'about:blank',
    title: STATUS_CODES[status],
    status,
    detail,
    code: error.code,
  })
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\nconnection: close\r\ncontent-type: application/problem+json\r\n` +
      `${status === 401 ? 'www-authenticate: Bearer\r\n' : ''}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    () => socket.destroy(),
  )
}
