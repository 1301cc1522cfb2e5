import {
  describeAccess,
  nameProcedures,
  routeOperation,
  type Operation,
  type ProcessDefinition,
  type ResolvedProcess,
  type Transport,
} from '@quintet/core'
import { dirname, resolve } from 'node:path'
import { importDefault, loadSystem } from '../plan/load-system.ts'
import { loadContext, print, type CommonOptions } from './context.ts'
import { table } from './format.ts'
import { selectApps } from './select-apps.ts'

/** One way into an app. */
interface Way {
  readonly app: string
  readonly process: string
  readonly surface: string
  readonly name: string
  readonly access: string
}

/** Prints every way into every app with its access rule. */
export async function routes(name: string | undefined, options: CommonOptions): Promise<void> {
  const { plan } = await loadContext(options)
  const ways: Way[] = []
  for (const app of selectApps(plan, name)) {
    const system = await loadSystem(app.bootstrap, app.name)
    for (const entry of system.processes) {
      for (const way of await waysInto(entry, dirname(app.bootstrap)))
        ways.push({ app: app.name, process: entry.name, ...way })
    }
  }
  print(options, ways, (all) =>
    table([
      ['APP', 'PROCESS', 'SURFACE', 'NAME', 'ACCESS'],
      ...all.map((way) => [way.app, way.process, way.surface, way.name, way.access]),
    ]),
  )
}

async function waysInto(entry: ResolvedProcess, baseUrl: string): Promise<Omit<Way, 'app' | 'process'>[]> {
  const module =
    typeof entry.module === 'function'
      ? (await entry.module()).default
      : await importDefault(resolve(baseUrl, entry.module))
  const definition = module as ProcessDefinition
  const workers = await workersOf(definition)
  const operations: Operation[] = [
    ...[...nameProcedures(definition.services).values()].map(({ operation }) => operation),
    ...definition.routes.map((route) => routeOperation(route, 0)),
    ...[...Object.values(entry.transports), ...(workers ?? [])].flatMap(
      (transport) => transport.operations ?? [],
    ),
  ]
  const known = operations.map(({ surface, name, access }) => ({
    surface,
    name,
    access: describeAccess(access),
  }))
  return workers === undefined
    ? [
        ...known,
        { surface: 'job', name: '(workers are made from services: known when it runs)', access: 'system' },
      ]
    : known
}

/** Workers that need no services can be asked; those that do are made when the process starts. */
async function workersOf(definition: ProcessDefinition): Promise<readonly Transport[] | undefined> {
  try {
    return await definition.workers(undefined)
  } catch {
    return undefined
  }
}
