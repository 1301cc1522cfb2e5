import { createHealthChecks, type OwnedHealthChecks } from '../lifecycle/create-health-checks.ts'
import { createLifecycle, type OwnedLifecycle } from '../lifecycle/create-lifecycle.ts'
import { createPipeline } from '../pipeline/create-pipeline.ts'
import { nameProcedures } from '../procedures/define-service.ts'
import type { InvocationObserver, InvocationWrapper } from '../pipeline/invocation.ts'
import { silentLogger, type Logger } from '../logging/logger.ts'
import type { Principal } from '../access/principal.ts'
import type { Route } from '../procedures/route.ts'
import type { Service } from '../procedures/service.ts'
import type { TransportHost } from '../transport/transport.ts'
import { createTokenAuth, type TokenAuth } from './token-auth.ts'

export interface TestHostOptions {
  readonly services?: readonly Service[]
  readonly routes?: readonly Route[]
  /** What handlers get as `services`. @defaultValue an empty object */
  readonly provide?: unknown
  /** Bearer tokens and whom they stand for. More can be granted through `host.auth`. */
  readonly tokens?: Readonly<Record<string, Principal>>
  readonly wrappers?: readonly InvocationWrapper[]
  readonly observers?: readonly InvocationObserver[]
  readonly maxConcurrentCalls?: number
  readonly logger?: Logger
  readonly port?: number
  /** The file descriptor of a listening socket. */
  readonly socket?: number
  /** The unix socket on which to listen until the transport takes over. */
  readonly standby?: string
}

/** A transport's host for tests: the real pipeline over an auth manager in memory. */
export interface TestHost extends TransportHost, AsyncDisposable {
  readonly auth: TokenAuth
  readonly health: OwnedHealthChecks
  readonly lifecycle: OwnedLifecycle
  /** Ends the lifecycle: timers stop, and what was registered with it is disposed. */
  close(): Promise<void>
}

/** Makes the host that a transport is started with in a test. It is started and accepts work. */
export function createTestHost(options: TestHostOptions = {}): TestHost {
  const logger = options.logger ?? silentLogger
  const auth = createTokenAuth(options.tokens)
  const lifecycle = createLifecycle({ logger })
  const health = createHealthChecks()
  health.markStarted()
  lifecycle.enter('running')
  return {
    system: { name: 'test', version: '0.0.0' },
    process: 'main',
    instance: 0,
    auth,
    pipeline: createPipeline({
      logger,
      auth,
      wrappers: options.wrappers ?? [],
      observers: options.observers ?? [],
      ...(options.maxConcurrentCalls === undefined ? {} : { maxConcurrentCalls: options.maxConcurrentCalls }),
    }),
    procedures: nameProcedures(options.services ?? []),
    routes: options.routes ?? [],
    services: options.provide ?? {},
    health,
    lifecycle,
    logger,
    port: options.port,
    socket: options.socket,
    standby: options.standby,
    close: () => lifecycle.close(),
    [Symbol.asyncDispose]: () => lifecycle.close(),
  }
}
