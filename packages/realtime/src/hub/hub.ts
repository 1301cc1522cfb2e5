import { randomUUID } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type AccessRule,
  type AuthManager,
  type Duration,
  type Logger,
  type Principal,
  type Size,
  type StopReason,
} from '@quintet/core'
import {
  accessOption,
  createPipeline,
  option,
  readOptions,
  type Credentials,
  type Operation,
} from '@quintet/core/kit'
import { closeCode } from '@quintet/core/http'
import { WebSocketServer, type WebSocket } from 'ws'
import { createEngine } from '../server/engine.ts'
import { RealtimeError } from '../errors.ts'
import { createHubConnection } from './hub-connection.ts'
import { readHandshake, refuseHandshake } from './hub-handshake.ts'
import { pauseWhileFull } from './pause-while-full.ts'
import { channelsSpec, findRedis, type ChannelsOptions } from '../server/channels-options.ts'
import type { RealtimeSession } from '../server/realtime-session.ts'
import { realtimeProtocolName } from '../wire/messages.ts'

export interface HubOptions extends ChannelsOptions {
  /** Verifies credentials. Without it, a client that shows any is refused, and only `public` channels can be used. */
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

const hubSpec = {
  ...channelsSpec,
  auth: option.collaborator<AuthManager>(['authenticate'], 'an AuthManager').optional(),
  access: accessOption().optional(),
  services: option.parsed('the services', (given) => given).optional(),
  logger: option.logger(),
  origins: option.list(option.text()),
  maxPayload: option.size(hubDefaults.maxPayload),
  maxConnections: option.count(hubDefaults.maxConnections, { min: 1 }),
  keepAlive: option.delay(hubDefaults.keepAlive, { min: 1 }),
}

/** Channels over plain `ws`, for a server that is not Quintet's. */
export interface Hub extends AsyncDisposable {
  readonly connections: number
  /** For the `upgrade` event of a `node:http` server. Refuses in plain HTTP a client that may not connect. */
  handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void>
  /**
   * Takes no new connections and no new messages, tells the clients, closes with 1001 what has nothing in progress, and
   * resolves when all connections are closed or the signal aborts.
   */
  drain(reason: StopReason, signal: AbortSignal): Promise<void>
  close(): Promise<void>
}

interface Live {
  readonly socket: WebSocket
  readonly session: RealtimeSession
  answered: boolean
}

/** So many connections are closed together when the hub stops, with a pause between, and told to come back spread out. */
const closeBatch = 200
const closePause = 50
const reconnectSpread = 5_000

/** @throws TypeError when an option is unknown or out of range. */
export function createHub(options: HubOptions): Hub {
  const { auth, access, services, logger, origins, maxPayload, maxConnections, keepAlive, ...rest } =
    readOptions(options, hubSpec, 'hub')
  const pipeline = createPipeline({ logger, auth })
  const engine = createEngine(
    { ...rest, redis: findRedis(rest.redis, 'hub') },
    { pipeline, services, logger },
  )
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    maxPayload,
    perMessageDeflate: false,
    handleProtocols: () => realtimeProtocolName,
  })
  const live = new Set<Live>()
  const connect: Operation = {
    surface: 'message',
    name: 'hub connect',
    access: access ?? (auth ? 'authenticated' : 'public'),
    freshness: undefined,
    timeout: 10_000,
  }
  /** Aborts when the hub takes no new connections any more. */
  const stopping = new AbortController()
  /** Handshakes in progress. Each holds a place of a connection. */
  let handshakes = 0
  const onEmpty: (() => void)[] = []
  let announced: Promise<void> | undefined

  const heartbeat = setInterval(() => {
    for (const each of live) {
      if (!each.answered) {
        each.socket.terminate()
        continue
      }
      each.answered = false
      each.socket.ping()
    }
  }, keepAlive)

  function authorize(credentials: Credentials, signal: AbortSignal): Promise<Principal> {
    return pipeline.authorize({ operation: connect, credentials, requestId: randomUUID(), signal })
  }

  /** Decides over a handshake; not longer than the hub takes new connections. */
  async function admit(credentials: Credentials): Promise<Principal> {
    const signal = AbortSignal.any([stopping.signal, AbortSignal.timeout(connect.timeout)])
    const stopped = Promise.withResolvers<never>()
    const refuse = (): void => stopped.reject(aboutToStop())
    stopping.signal.addEventListener('abort', refuse, { once: true })
    try {
      return await Promise.race([authorize(credentials, signal), stopped.promise])
    } finally {
      stopping.signal.removeEventListener('abort', refuse)
    }
  }

  function settle(): void {
    if (live.size === 0 && handshakes === 0) for (const resolve of onEmpty.splice(0)) resolve()
  }

  function whenEmpty(): Promise<void> {
    return live.size === 0 && handshakes === 0
      ? Promise.resolve()
      : new Promise((resolve) => onEmpty.push(resolve))
  }

  function open(socket: WebSocket, stream: Duplex, principal: Principal, credentials: Credentials): void {
    const connection = createHubConnection({ socket, principal, credentials, auth, authorize })
    const session = engine.open(connection)
    const entry: Live = { socket, session, answered: true }
    live.add(entry)
    socket.on('pong', () => (entry.answered = true))
    socket.on('error', () => undefined)
    socket.on('message', (data, isBinary) => {
      const bytes = Buffer.isBuffer(data)
        ? data
        : Array.isArray(data)
          ? Buffer.concat(data)
          : Buffer.from(data)
      session.message(isBinary ? bytes : bytes.toString('utf8'))
      pauseWhileFull(socket, stream, rest.slowConsumer.limit)
    })
    socket.once('close', (code) => {
      live.delete(entry)
      connection.closed()
      session.closed(code)
      settle()
    })
  }

  /** Tells every client, and closes each connection when it has nothing in progress. */
  async function announce(reason: StopReason): Promise<void> {
    let told = 0
    for (const { socket, session } of Array.from(live)) {
      session.notifyShutdown(reason, 500 + Math.floor(Math.random() * reconnectSpread))
      void session.whenIdle().then(() => socket.close(closeCode.goingAway, reason))
      if (++told % closeBatch === 0) await delay(closePause)
    }
  }

  async function close(): Promise<void> {
    stopping.abort()
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
      handshakes += 1
      try {
        if (stopping.signal.aborted) throw aboutToStop()
        if (live.size + handshakes > maxConnections)
          throw new RealtimeError('ERR_REALTIME_UNAVAILABLE', 'There are too many connections.')
        const credentials = readHandshake(request, origins)
        const principal = await admit(credentials)
        if (!socket.destroyed)
          server.handleUpgrade(request, socket, head, (client) =>
            open(client, socket, principal, credentials),
          )
      } catch (thrown) {
        refuseHandshake(socket, thrown)
      } finally {
        handshakes -= 1
        settle()
      }
    },
    async drain(reason, signal) {
      stopping.abort()
      const drained = (announced ??= announce(reason)).then(whenEmpty)
      if (signal.aborted) return
      const aborted = Promise.withResolvers<void>()
      signal.addEventListener('abort', () => aborted.resolve(), { once: true })
      await Promise.race([drained, aborted.promise])
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

function aboutToStop(): RealtimeError {
  return new RealtimeError('ERR_REALTIME_CLOSED', 'The server is about to stop.')
}
