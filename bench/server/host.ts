import {
  type AccessRule,
  type AuthManager,
  type InvocationWrapper,
  procedure,
  route,
  service,
  silentLogger,
} from '@quintet/core'
import {
  createHealthChecks,
  createLifecycle,
  createPipeline,
  type InvocationObserver,
  nameProcedures,
  type TransportHost,
} from '@quintet/core/kit'
import { createLogger } from '@quintet/core/logger'
import { add, AddInput, AddOutput } from './contract.ts'

export interface HostLayers {
  /** @defaultValue `'public'` */
  readonly access?: AccessRule
  readonly auth?: AuthManager
  readonly wrappers?: readonly InvocationWrapper[]
  /** One JSON line per call, to standard output. */
  readonly logging?: boolean
}

const upload = route({
  method: 'POST',
  pattern: '/upload',
  access: 'public',
  maxRequestSize: '10gb',
  handler: async ({ body }) => {
    let size = 0
    for await (const piece of body ?? []) size += (piece as Uint8Array).length
    return Response.json({ size })
  },
})

/** The host of a transport, with the real pipeline. */
export function createHost(layers: HostLayers = {}): TransportHost {
  const { access = 'public', auth, wrappers = [], logging = false } = layers
  const math = service('math', {
    add: procedure({ access, input: AddInput, output: AddOutput }, ({ input }) => add(input)),
  })
  const logger = logging ? createLogger() : silentLogger
  const observers: InvocationObserver[] = logging
    ? [{ onSettled: ({ operation, ...call }) => logger.info({ ...call, operation: operation.name }, 'call') }]
    : []
  return {
    system: { name: 'bench', version: '0.0.0' },
    process: 'worker',
    instance: 0,
    pipeline: createPipeline({ logger, auth, wrappers, observers }),
    procedures: nameProcedures([math]),
    routes: [upload],
    services: {},
    health: createHealthChecks(),
    lifecycle: createLifecycle({ logger }),
    logger,
    port: undefined,
    socket: undefined,
    standby: undefined,
  }
}
