import { assertAccessRule } from '../access/access-rule.ts'
import { hooksOption } from './hooks-option.ts'
import { brandDefinition, isDefinition } from './definition-brand.ts'
import { readOptions } from '../options/read-options.ts'
import type { Hooks } from './hooks.ts'
import { nameProcedures } from '../procedures/define-service.ts'
import { option } from '../options/options.ts'
import type { Route } from '../procedures/route.ts'
import type { Service } from '../procedures/service.ts'
import type { ProcessDefinition, ProcessOptions } from './process.ts'
import type { Transport } from '../transport/transport.ts'

/** The `defineProcess` function for one type of services. */
export type DefineProcess<Services> = (options: ProcessOptions<Services>) => ProcessDefinition<Services>

const spec = {
  services: option.list(option.collaborator<Service>([], 'a service')),
  routes: option.list(option.collaborator<Route>(['handler'], 'a route made by route()')),
  workers: option
    .either(
      option.list(option.collaborator<Transport>(['start'], 'a worker')),
      option.function<(services: never) => readonly Transport[] | Promise<readonly Transport[]>>(),
    )
    .or(Object.freeze<Transport[]>([])),
  hooks: hooksOption(),
}

/**
 * Defines what one process answers to and works on: the default export of a process's module.
 *
 * @throws TypeError when a key is unknown, or two services or two routes are the same.
 */
export function defineProcess<Services = unknown>(
  options: ProcessOptions<Services>,
): ProcessDefinition<Services> {
  // Without any it would answer to nothing, which is hardly meant.
  if (options === undefined) throw new TypeError('defineProcess: needs options.')
  const { services, routes, workers, hooks } = readOptions<ProcessOptions<Services>, typeof spec>(
    options,
    spec,
    'defineProcess',
  )
  for (const [index, { procedures }] of services.entries()) {
    if (typeof procedures === 'object' && procedures !== null) continue
    throw new TypeError(
      `defineProcess.services[${index}]: is no service. Make one with service(); a worker belongs into "workers", a route into "routes".`,
    )
  }
  nameProcedures(services)
  const seen = new Set<string>()
  for (const route of routes) {
    if (route.access === undefined) throw new TypeError('defineProcess: routes must be made by route().')
    const name = `${route.method} ${route.pattern}`
    assertAccessRule(route.access, name)
    if (seen.has(name)) throw new TypeError(`defineProcess: there are two routes ${name}.`)
    seen.add(name)
  }
  const definition: ProcessDefinition<Services> = {
    services,
    routes,
    workers: typeof workers === 'function' ? withoutWays(workers as WorkerMaker<Services>) : () => workers,
    operations: Object.freeze(
      typeof workers === 'function' ? [] : workers.flatMap((worker) => worker.operations ?? []),
    ),
    hooks: hooks as Hooks<Services>,
  }
  return Object.freeze(brandDefinition('process', definition))
}

type WorkerMaker<Services> = (services: Services) => readonly Transport[] | Promise<readonly Transport[]>

/** Holds a function that makes workers to those that open no way in: its rule could not be seen before the process runs. */
function withoutWays<Services>(
  make: (services: Services) => readonly Transport[] | Promise<readonly Transport[]>,
): (services: Services) => Promise<readonly Transport[]> {
  return async (services) => {
    const made = await make(services)
    for (const { name, operations = [] } of made) {
      const [operation] = operations
      if (operation === undefined) continue
      throw new TypeError(
        `defineProcess.workers: "${name}" opens ${operation.name}, which must be listed itself, not made by a function. A job's worker takes its queue from the services: worker(job, { queue: (services) => services.queue }, handler).`,
      )
    }
    return made
  }
}

/** Recognises what {@link defineProcess} returns, e.g. the default export of a module. */
export function isProcessDefinition(value: unknown): value is ProcessDefinition {
  return isDefinition('process', value)
}
