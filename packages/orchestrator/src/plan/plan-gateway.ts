import { fileURLToPath } from 'node:url'
import type { Ecosystem } from '@quintet/core/ecosystem'
import { refuseUnknownKeys } from '@quintet/core/kit'
import { binPath } from '../bin-path.ts'
import type { PlannedGateway, PlannedProcess, PlannedRoute } from './plan.ts'

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
  'ejection',
  'securityHeaders',
]

/**
 * The gateway as a process of its own, with a route for every app that others can reach: HTTP under
 * `/api/<app>/`, WebSockets under `/ws/<app>/`, and under `/ws/` where only one app has them.
 *
 * @throws TypeError when the service is no gateway of ours or its options contradict themselves.
 */
export function planGateway(
  ecosystem: Ecosystem,
  processes: readonly PlannedProcess[],
  cwd: string,
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
  const routes = planRoutes(processes)
  if (routes.length === 0)
    throw new TypeError('infrastructure.services.gateway: no app has a transport that it could lead to.')
  const id = `${gatewayApp}/http`
  return {
    plan: { processId: id, routes, config: service.config },
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

function planRoutes(processes: readonly PlannedProcess[]): PlannedRoute[] {
  const upstreams = (app: string, websocket: boolean): PlannedRoute['upstreams'] =>
    processes
      .filter((each) => each.app === app)
      .flatMap((each) =>
        Object.keys(each.ports)
          .filter((transport) => isWebSocket(transport) === websocket)
          .map((transport) => ({ processId: each.id, transport })),
      )
  const apps = [...new Set(processes.map((each) => each.app))]
  const api = apps
    .map((app) => ({ name: app, path: `/api/${app}/`, websocket: false, upstreams: upstreams(app, false) }))
    .filter((route) => route.upstreams.length > 0)
  const sockets = apps
    .map((app) => ({
      name: `${app}-ws`,
      path: `/ws/${app}/`,
      websocket: true,
      upstreams: upstreams(app, true),
    }))
    .filter((route) => route.upstreams.length > 0)
  const only = sockets.length === 1 ? sockets[0] : undefined
  return only ? [...api, ...sockets, { ...only, name: 'ws', path: '/ws/' }] : [...api, ...sockets]
}

function isWebSocket(transport: string): boolean {
  return /^(?:ws|websocket)/.test(transport)
}
