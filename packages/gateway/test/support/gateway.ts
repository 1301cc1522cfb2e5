import {
  createGateway,
  type Gateway,
  type GatewayOptions,
  type GatewayRouteOptions,
  type SettledExchange,
} from '../../src/index.ts'

export interface TestGateway extends Gateway {
  readonly settled: SettledExchange[]
}

/** A gateway on a free port that remembers what became of every request. */
export async function startGateway(options: Omit<GatewayOptions, 'onSettled'>): Promise<TestGateway> {
  const settled: SettledExchange[] = []
  const gateway = await createGateway({
    port: 0,
    // Tests count what their upstreams see.
    probes: false,
    ...options,
    onSettled: (exchange) => settled.push(exchange),
  })
  return Object.assign(gateway, { settled })
}

/** One route `/api/app/` to these upstreams. */
export function appRoute(
  upstreams: GatewayRouteOptions['upstreams'],
  options: Partial<GatewayRouteOptions> = {},
): GatewayRouteOptions {
  return { name: 'app', path: '/api/app/', upstreams, ...options }
}
