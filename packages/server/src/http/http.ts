import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Transport } from '@quintet/core'
import {
  aborted,
  type HttpPlugin,
  type NamedProcedure,
  type RunningTransport,
  type TransportHost,
} from '@quintet/core/kit'
import { describeKind } from '../request/describe-kind.ts'
import { serverError } from '../errors.ts'
import { openApiOperations, openApiRoutes } from '../openapi/routes.ts'
import { SocketHub, socketOperations } from '../socket/socket-hub.ts'
import { admit } from '../request/admit-request.ts'
import { answerRoute } from './answer-route.ts'
import { answerBatch } from './batch.ts'
import { adoptRequests } from '../request/web-request.ts'
import { unknownRoute } from '../request/unknown-operations.ts'
import { createBodyWatch } from '../request/body-watch.ts'
import { openListener, trackConnections, type Listener } from '@quintet/core/http'
import { LongAnswers } from '../exchange/long-answers.ts'
import { Exchange } from '../exchange/exchange.ts'
import { resolveHttp, type HttpOptions } from '../options/http-options.ts'
import { followPluginAnswer } from './plugin-streams.ts'
import { createRouteTable, type RouteTable } from './route-table.ts'
import { answerRpc } from './rpc.ts'
import { afterAnswers, refuseUnreadRequests, type LastExchanges } from './unread-requests.ts'
import type { Site } from '../exchange/site.ts'

/** How long a client may pause in the middle of a body while the process stops, in milliseconds. */
const drainBodyTime = 2_000

/**
 * How long a connection without a request stays open while the process stops, in milliseconds: a client that is about to
 * send its next one is answered, with `Connection: close`.
 */
const idleGrace = 500

/**
 * How long a connection without a request may stay open while the process gives way, in milliseconds: as long as without
 * that (`keepAliveTimeout`), but no longer than this.
 */
const longestIdle = 120_000

/**
 * The HTTP transport of a process: its procedures as `POST /rpc/<service>/<procedure>`, batches as
 * `POST /rpc`, its routes, and the OpenAPI document of all.
 *
 * @throws TypeError when an option is unknown, malformed or contradicts another.
 *
 * @example
 * transports: { http: http({ port: 3002, requestTimeout: '5m', maxRequestSize: '10gb' }) }
 */
export function http(options: HttpOptions = {}): Transport {
  const resolved = resolveHttp(options)
  return {
    name: resolved.name,
    ...(resolved.fd === undefined ? { port: resolved.port, address: resolved.host } : {}),
    standby: true,
    ...(resolved.websocket && { webSocket: { path: resolved.websocket.path, only: false } }),
    operations: [
      ...(resolved.openapi === undefined ? [] : openApiOperations(resolved.openapi)),
      ...resolved.plugins.flatMap((plugin) => plugin.operations ?? []),
      ...(resolved.websocket === undefined ? [] : socketOperations(resolved.websocket)),
    ],
    async start(host: TransportHost): Promise<RunningTransport> {
      const server = createServer({
        headersTimeout: resolved.headersTimeout,
        keepAliveTimeout: resolved.keepAliveTimeout,
        // Bodies are held to their time one by one: a total limit would cut off an upload that makes progress.
        requestTimeout: 0,
        connectionsCheckingInterval: Math.min(5_000, Math.max(50, (resolved.headersTimeout || 60_000) / 4)),
        noDelay: true,
        // A client that offers HTTP/2 beside its request is answered in HTTP/1.1.
        ...(resolved.websocket && { shouldUpgradeCallback: wantsWebSocket }),
      })
      server.maxConnections = resolved.maxConnections
      const { requestTimeout, uploadProgressTimeout, uploadTimeout } = resolved
      const limits = [requestTimeout, uploadProgressTimeout, uploadTimeout].filter((limit) => limit > 0)
      const site: Site = {
        host,
        options: resolved,
        // Ours tell their clients why they end.
        connections: trackConnections(server, { eventStreams: false }),
        longAnswers: new LongAnswers(),
        bodies: createBodyWatch(Math.min(60_000, ...limits)),
      }
      const hub = resolved.websocket && new SocketHub(host, resolved.websocket)
      for (const plugin of resolved.plugins) await plugin.start(host)
      await hub?.start()
      const last = serve(server, site)
      if (hub !== undefined) {
        server.on('upgrade', (request, socket, head) => {
          socket.on('error', ignore)
          afterAnswers(last, socket, () => {
            socket.off('error', ignore)
            site.connections.handOver(request.socket)
            hub.upgrade(request, socket, head)
          })
        })
      }
      let listener: Listener
      try {
        listener = await openListener(server, {
          fd: host.socket ?? (host.port === undefined ? resolved.fd : undefined),
          host: resolved.host,
          port: host.port ?? resolved.port,
          standby: host.standby,
        })
      } catch (error) {
        site.bodies.close()
        throw error
      }
      const closed = new Promise((resolve) => server.once('close', resolve))
      let url = listener.url('http')
      return {
        get url() {
          return url
        },
        async takeOver() {
          await listener.takeOver()
          url = listener.url('http')
        },
        async giveWay(reason, signal) {
          const idle = Math.min(resolved.keepAliveTimeout || longestIdle, longestIdle)
          const limit = AbortSignal.any([signal, AbortSignal.timeout(idle + idleGrace)])
          site.connections.announceClose()
          const drained = site.connections.drain(idle, limit)
          site.longAnswers.endAll()
          await Promise.race([Promise.all([drained, hub?.drain(reason, signal)]), aborted(limit)])
        },
        announceStop: () => site.connections.announceClose(),
        async drain(reason, signal) {
          site.connections.announceClose()
          site.bodies.shortenTo(drainBodyTime)
          const drained = site.connections.drain(idleGrace, signal)
          site.longAnswers.endAll()
          await Promise.all([drained, hub?.drain(reason, signal)])
        },
        async close() {
          site.bodies.close()
          listener.close()
          site.connections.destroy()
          await hub?.close()
          await closed
        },
      }
    },
  }
}

function serve(server: Server, site: Site): LastExchanges {
  const { host, options } = site
  const last: LastExchanges = new WeakMap()
  const procedures = new Map<string, NamedProcedure>()
  for (const named of host.procedures.values()) procedures.set(`/rpc/${named.name.replace('.', '/')}`, named)
  const own = options.openapi === undefined ? [] : openApiRoutes(host, options.openapi)
  if (options.adoptRequests) adoptRequests()
  const routes = createRouteTable([...host.routes, ...own], options.requestTimeout)

  const answer = (request: IncomingMessage, response: ServerResponse, expectsContinue: boolean): void => {
    response.on('error', ignore)
    const exchange = new Exchange(site, request, response, expectsContinue)
    last.set(request.socket, exchange)
    const fail = (error: unknown): void => exchange.fail(error)
    try {
      respond(exchange, procedures, routes)?.catch(fail)
    } catch (error) {
      fail(error)
    }
  }
  server.on('request', (request, response) => answer(request, response, false))
  server.on('checkContinue', (request, response) => answer(request, response, true))
  server.on('checkExpectation', (request, response) => {
    response.on('error', ignore)
    const exchange = new Exchange(site, request, response, false)
    last.set(request.socket, exchange)
    const refused = serverError('ERR_SERVER_EXPECTATION_FAILED', 'The only expectation is 100-continue.')
    exchange.failUnknown(unknownRoute, refused)
  })
  refuseUnreadRequests(server, last)
  return last
}

/** Finds out what a request asks for. @returns when it is answered; nothing when it already is. */
function respond(
  exchange: Exchange,
  procedures: ReadonlyMap<string, NamedProcedure>,
  routes: RouteTable,
): Promise<void> | undefined {
  const { request, site } = exchange
  const path = admit(request)
  if (site.options.plugins.length > 0 && askPlugins(exchange, site.options.plugins)) return undefined
  if (request.method === 'OPTIONS' && site.options.cors !== undefined && isPreflight(request)) {
    const headers = site.options.cors.preflight(request)
    if (headers === undefined)
      throw serverError('ERR_SERVER_ORIGIN_REFUSED', 'Pages of this origin may not call.')
    exchange.sendEmpty(204, headers)
    return undefined
  }
  const procedure = procedures.get(path)
  if (procedure !== undefined) return answerRpc(exchange, procedure)
  if (path === '/rpc') return answerBatch(exchange)
  return answerRoute(exchange, routes, path)
}

function askPlugins(exchange: Exchange, plugins: readonly HttpPlugin[]): boolean {
  const { request, response, site } = exchange
  const release = followPluginAnswer(request, response, site.longAnswers)
  if (plugins.some((plugin) => askPlugin(exchange, plugin))) return true
  release()
  return false
}

/** @throws TypeError for an answer that is neither true nor false: a promise would count as one, and never be waited for. */
function askPlugin({ request, response, requestId, site: { host } }: Exchange, plugin: HttpPlugin): boolean {
  try {
    const handled: unknown = plugin.handle(request, response)
    if (typeof handled === 'boolean') return handled
    if (handled instanceof Promise) handled.catch(ignore)
    throw new TypeError(
      `http.plugins: handle() of "${plugin.name}" must return true or false at once, not ${describeKind(handled)}.`,
    )
  } catch (error) {
    host.logger.error({ err: error, requestId }, 'a plugin failed')
    throw error
  }
}

function wantsWebSocket({ headers }: IncomingMessage): boolean {
  return headers.upgrade?.toLowerCase() === 'websocket'
}

function isPreflight(request: IncomingMessage): boolean {
  return (
    request.headers.origin !== undefined && request.headers['access-control-request-method'] !== undefined
  )
}

function ignore(): void {}
