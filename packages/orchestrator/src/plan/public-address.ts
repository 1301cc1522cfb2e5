import type { Plan } from './plan.ts'

/**
 * Where clients find an app, as environment variables: the origin of the gateway, and the address of the app behind it. None
 * without a gateway: then clients find it where it listens.
 */
export function publicVariables(
  { gateway }: Plan,
  app: string,
  portOf: (processId: string, transport: string) => number,
): Record<string, string> {
  if (gateway === null) return {}
  const origin = gateway.publicOrigin ?? `http://127.0.0.1:${portOf(gateway.processId, 'http')}`
  const route = gateway.routes.find(({ name }) => name === app)
  return {
    QUINTET_PUBLIC_ORIGIN: origin,
    ...(route && { QUINTET_PUBLIC_URL: `${origin}${route.path.replace(/\/$/, '')}` }),
  }
}

/** @throws TypeError when it is not the origin of a web address. */
export function readPublicOrigin(value: unknown, path: string): string | null {
  if (value === undefined) return null
  const url = typeof value === 'string' ? URL.parse(value) : null
  if (url && url.origin === value && /^https?:$/.test(url.protocol)) return value
  throw new TypeError(
    `${path}: ${JSON.stringify(value)} is no origin. Give scheme, host and port alone, e.g. "https://shop.example".`,
  )
}
