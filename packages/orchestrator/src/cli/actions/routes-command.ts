import type { ProcessDefinition } from '@quintet/core'
import {
  describeAccess,
  nameProcedures,
  type Operation,
  type ResolvedProcess,
  routeOperation,
} from '@quintet/core/kit'
import { dirname, resolve } from 'node:path'
import { importDefault, loadSystem } from '../../plan/load-system.ts'
import { loadContext, print, type CommonOptions } from './context.ts'
import { table } from '../../terminal/table.ts'
import { selectSystems } from './select-apps.ts'

/** One way into an app. */
interface Way {
  readonly app: string
  readonly process: string
  readonly surface: string
  readonly name: string
  readonly access: string
  readonly description: string
}

/** Prints every way into every app with its access rule. */
export async function routes(name: string | undefined, options: CommonOptions): Promise<void> {
  const { plan } = await loadContext(options)
  const ways: Way[] = []
  for (const app of selectSystems(plan, name)) {
    const system = await loadSystem(app.bootstrap, app.name)
    for (const entry of system.processes) {
      for (const way of await waysInto(entry, dirname(app.bootstrap)))
        ways.push({ app: app.name, process: entry.name, ...way })
    }
  }
  print(options, ways, (all) =>
    table([
      ['APP', 'PROCESS', 'SURFACE', 'NAME', 'ACCESS', 'DESCRIPTION'],
      ...all.map((way) => [way.app, way.process, way.surface, way.name, way.access, way.description]),
    ]),
  )
}

async function waysInto(entry: ResolvedProcess, baseUrl: string): Promise<Omit<Way, 'app' | 'process'>[]> {
  const module =
    typeof entry.module === 'function'
      ? (await entry.module()).default
      : await importDefault(resolve(baseUrl, entry.module))
  const definition = module as ProcessDefinition
  const way = ({ surface, name, access }: Operation, description: string): Omit<Way, 'app' | 'process'> => ({
    surface,
    name,
    access: describeAccess(access),
    description,
  })
  const opened = [
    ...Object.values(entry.transports).flatMap((transport) => transport.operations ?? []),
    ...definition.operations,
  ]
  return [
    ...[...nameProcedures(definition.services).values()].map(({ operation, procedure }) =>
      way(operation, procedure.description),
    ),
    ...definition.routes.map((route) => way(routeOperation(route, 0), route.description)),
    ...opened.map((operation) => way(operation, '')),
  ]
}
