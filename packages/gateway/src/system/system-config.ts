import type { Secret, Size } from '@quintet/core'
import { option, readOptions } from '@quintet/core/kit'
import { secret } from '@quintet/core/zod'
import { z } from 'zod'
import { gatewayDefaults, type GatewayOptions } from '../options/gateway-options.ts'
import { routeOption, type GatewayRouteOptions } from '../options/route-options.ts'

/** What the gateway of an ecosystem is told by its environment. */
export interface GatewayConfiguration {
  readonly routes: readonly GatewayRouteOptions[]
  readonly host: string
  readonly port: number
  readonly trustedProxies: readonly string[]
  readonly timeouts?: GatewayOptions['timeouts'] | undefined
  readonly retries?: GatewayOptions['retries'] | undefined
  readonly probes?: GatewayOptions['probes'] | undefined
  readonly cors?: GatewayOptions['cors'] | undefined
  readonly ejection?: GatewayOptions['ejection'] | undefined
  readonly securityHeaders?: GatewayOptions['securityHeaders'] | undefined
  readonly maxConnections?: number | undefined
  readonly maxHeaderSize?: Size | undefined
  readonly maxResponseHeaderSize?: Size | undefined
  readonly redis?: { readonly url: Secret } | undefined
  readonly maintenance: {
    /** What operators send in `x-maintenance-token`. */
    readonly token?: Secret | undefined
    /** Addresses and networks of operators. */
    readonly allow: readonly string[]
    /** Seconds. */
    readonly retryAfter?: number | undefined
  }
}

const routes = z.string().transform((text, context): readonly GatewayRouteOptions[] => {
  try {
    const value = { routes: JSON.parse(text) as readonly GatewayRouteOptions[] }
    readOptions(value, { routes: option.list(routeOption, { min: 1 }) }, '')
    return value.routes
  } catch (error) {
    context.addIssue({
      code: 'custom',
      message: error instanceof SyntaxError ? 'must be JSON' : String((error as Error).message),
    })
    return z.NEVER
  }
})

/** Options of the gateway as JSON text; the gateway itself checks what they say. */
const json = <Options>(): z.ZodType<Options, string> =>
  z.string().transform((text, context): Options => {
    try {
      return JSON.parse(text) as Options
    } catch {
      context.addIssue({ code: 'custom', message: 'must be JSON' })
      return z.NEVER
    }
  })

/** Bytes, or a literal such as `32kb`, which the gateway itself reads. */
const size = z.string().transform((text): Size => (/^\d+$/.test(text) ? Number(text) : (text as Size)))

export const GatewayConfig: z.ZodType<GatewayConfiguration> = z.strictObject({
  routes,
  host: z.string().min(1).default(gatewayDefaults.host),
  port: z.number().int().min(0).max(65_535).default(gatewayDefaults.port),
  trustedProxies: z.array(z.string()).default([]),
  timeouts: json<GatewayOptions['timeouts']>().optional(),
  retries: json<GatewayOptions['retries']>().optional(),
  probes: json<GatewayOptions['probes']>().optional(),
  cors: json<GatewayOptions['cors']>().optional(),
  ejection: json<GatewayOptions['ejection']>().optional(),
  securityHeaders: json<GatewayOptions['securityHeaders']>().optional(),
  maxConnections: z.number().int().positive().optional(),
  maxHeaderSize: size.optional(),
  maxResponseHeaderSize: size.optional(),
  redis: z.strictObject({ url: secret() }).optional(),
  maintenance: z
    .strictObject({
      token: secret({ minLength: 16 }).optional(),
      allow: z.array(z.string()).default([]),
      retryAfter: z.number().positive().optional(),
    })
    .default({ allow: [] }),
})
