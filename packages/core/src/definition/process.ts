import type { Hooks } from './hooks.ts'
import type { Operation } from '../pipeline/operation.ts'
import type { Route } from '../procedures/route.ts'
import type { Service } from '../procedures/service.ts'
import type { Transport } from '../transport/transport.ts'

export interface ProcessOptions<Services = unknown> {
  /** Callable over every RPC surface of the process, and by siblings where the topology exposes it. */
  readonly services?: readonly Service[]
  /** Served by the HTTP transport. */
  readonly routes?: readonly Route[]
  /**
   * Queue workers and other transports that need no port. A function gets the services that `setup` made; what it
   * makes must open no way in of its own, because `quintet routes` could not show it.
   */
  readonly workers?:
    | readonly Transport[]
    | ((services: Services) => readonly Transport[] | Promise<readonly Transport[]>)
  readonly hooks?: Hooks<Services>
}

/** What one process of a system answers to and works on. Made by `defineProcess`. */
export interface ProcessDefinition<Services = unknown> {
  readonly services: readonly Service[]
  readonly routes: readonly Route[]
  readonly workers: (services: Services) => readonly Transport[] | Promise<readonly Transport[]>
  /** The ways in that its workers open. */
  readonly operations: readonly Operation[]
  readonly hooks: Hooks<Services>
}
