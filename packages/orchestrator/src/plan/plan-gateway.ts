import { fileURLToPath } from 'node:url'
import type { Ecosystem } from '@quintet/core/ecosystem'
import type { Transport } from '@quintet/core'
import { refuseUnknownKeys } from '@quintet/core/kit'
import { binPath } from '../bin-path.ts'
import { readPublicOrigin } from './public-address.ts'
import type { PlannedGateway, PlannedProcess, PlannedRoute } from './plan.ts'
import { overrideRoutes } from './route-overrides.ts'
import { planWellKnown } from './well-known.ts'

/** The gateway is an app like any other; its package brings the system. */
const systemFile = fileURLToPath(import.meta.resolve('@quintet/gateway/system'))

/** The name under which the gateway appears among the apps. */
const gatewayApp = 'gateway'

/** What the ecosystem file may say about it; the rest is worked out here, or cannot stand in a file. */
const configurable = [
  'host',
  'trustedProxies',
  'maintenance',
  'timeouts',
  'maxConnections',
  'retries',
  'probes',
  'cors',
  'ejection',
  'securityHeaders',
  'maxHeaderSize',
  'maxResponseHeaderSize',
  'routes',
  'publicOrigin',
  'wellKnown',
]

/** Where a transport of a process takes WebSockets. */
type WebSocketOf = (process: PlannedProcess, transport: string) => Transport['webSocket']

/**
 * The gateway as a process of its own, with a route for every app that others can reach: HTTP under
 * `/api/<app>/`, with the WebSockets that the same port takes; ports that take WebSockets only under
 * `/ws/<app>/`, and under `/ws/` where only one app has them.
 *
 * @throws TypeError when the service is no gateway of ours or its options contradict themselves.
 */
export function planGateway(
  ecosystem: Ecosystem,
  processes: readonly PlannedProcess[],
  cwd: string,
  webSocketOf: WebSocketOf = () => undefined,
): { readonly plan: PlannedGateway; readonly process: PlannedProcess } | undefined {
  const services = Object.entries(ecosystem.infrastructure.services)
  for (const [name, service] of services) {
    const path = `infrastructure.services.${name}`
    if (service.preset !== 'quintet') {
      throw new TypeError(
        `${path}.preset: ${JSON.stringify(service.preset)} is not known. Presets: "quintet" (the gateway).`,
      )
    }
    if (name !== gatewayApp) throw new TypeError(`${path}: the gateway is named "${gatewayApp}".`)
    const strange = Object.keys(service.ports).find((port) => port !== 'http')
    if (strange !== undefined)
      throw new TypeError(`${path}.ports: unknown key "${strange}". The gateway has one port, "http".`)
  }
  const service = services[0]?.[1]
  if (!service) return undefined
  refuseUnknownKeys(service.config, configurable, 'infrastructure.services.gateway.config')
  if (processes.some((each) => each.app === gatewayApp)) {
    throw new TypeError(`apps: "${gatewayApp}" is the name of the gateway; give the app another.`)
  }
  const derived = planRoutes(processes, webSocketOf)
  if (derived.length === 0)
    throw new TypeError('infrastructure.services.gateway: no app has a transport that it could lead to.')
  const id = `${gatewayApp}/http`
  const { publicOrigin, wellKnown, routes: given, ...config } = service.config
  const path = 'infrastructure.services.gateway.config'
  const routes = overrideRoutes(given, derived, `${path}.routes`)
  return {
    plan: {
      processId: id,
      routes: [...routes, ...planWellKnown(wellKnown, routes, `${path}.wellKnown`)],
      publicOrigin: readPublicOrigin(publicOrigin, `${path}.publicOrigin`),
      config,
    },
    process: {
      id,
      app: gatewayApp,
      process: 'http',
      instance: 0,
      kind: 'service',
      command: [process.execPath, binPath, 'run', systemFile, '--process', 'http'],
      cwd,
      env: service.env,
      ports: { http: service.ports['http'] ?? 8080 },
      addresses: { http: '127.0.0.1' },
      isCommand: false,
      asked: null,
      standby: false,
      // It starts at once and answers for apps that are not there yet; it stops first, before what it leads to.
      dependsOn: [],
      stopsBefore: processes.map((each) => each.id),
      // A front door that crashes takes nothing along, and is opened again whatever happens.
      critical: false,
      restartsForever: true,
      startupTimeout: 30_000,
      stopTimeout: 15_000,
      stopPriority: 0,
      health: { ...ecosystem.monitoring.healthCheck, retries: 3 },
    },
  }
}

function planRoutes(processes: readonly PlannedProcess[], webSocketOf: WebSocketOf): PlannedRoute[] {
  const apps = [...new Set(processes.map((each) => each.app))]
  const transports = processes.flatMap((process) =>
    Object.keys(process.ports).map((transport) => {
      const webSocket = webSocketOf(process, transport)
      const only = webSocket?.only ?? isNamedForWebSockets(transport)
      return { app: process.app, only, webSocket, upstream: { processId: process.id, transport } }
    }),
  )
  const api = apps.flatMap((app): PlannedRoute[] => {
    const own = transports.filter((each) => each.app === app && !each.only)
    if (own.length === 0) return []
    const websocket = own.some((each) => each.webSocket !== undefined)
    return [{ name: app, path: `/api/${app}/`, websocket, upstreams: own.map(({ upstream }) => upstream) }]
  })
  const sockets = apps.flatMap((app): PlannedRoute[] => {
    const own = transports.filter((each) => each.app === app && each.only)
    if (own.length === 0) return []
    const paths = new Set(own.map(({ webSocket }) => webSocket?.path))
    if (paths.size > 1) {
      throw new TypeError(
        `${app}: its WebSocket transports have the paths ${[...paths].join(' and ')}. Behind the gateway they must be alike.`,
      )
    }
    const [upstreamPath] = paths
    const upstreams = own.map(({ upstream }) => upstream)
    return [
      {
        name: `${app}-ws`,
        path: `/ws/${app}/`,
        websocket: true,
        ...(upstreamPath === undefined ? {} : { upstreamPath }),
        upstreams,
      },
    ]
  })
  const only = sockets.length === 1 ? sockets[0] : undefined
  return only ? [...api, ...sockets, { ...only, name: 'ws', path: '/ws/' }] : [...api, ...sockets]
}

/** For transports that do not say what they take. */
function isNamedForWebSockets(transport: string): boolean {
  return /^(?:ws|websocket)/.test(transport)
}
