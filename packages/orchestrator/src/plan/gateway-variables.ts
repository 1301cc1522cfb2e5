import type { PlannedGateway } from './plan.ts'

/** The gateway's routes and options as the environment variables of its process. */
export function gatewayVariables(
  { routes, config }: PlannedGateway,
  portOf: (processId: string, transport: string) => number,
): Record<string, string> {
  const { maintenance, ...options } = config
  const settled = routes.map(({ upstreams, ...route }) => ({
    ...route,
    upstreams: upstreams.map(
      ({ processId, transport }) => `http://127.0.0.1:${portOf(processId, transport)}`,
    ),
  }))
  return {
    ...toVariables('GATEWAY_', options),
    ...toVariables('GATEWAY_MAINTENANCE__', (maintenance as Record<string, unknown> | undefined) ?? {}),
    GATEWAY_ROUTES: JSON.stringify(settled),
  }
}

/** Options as environment variables: names in capitals, lists with commas, objects as JSON. */
function toVariables(prefix: string, options: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) => {
      const name = prefix + key.replaceAll(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase()
      if (Array.isArray(value)) return [name, value.join(',')]
      return [name, typeof value === 'object' ? JSON.stringify(value) : String(value)]
    }),
  )
}
