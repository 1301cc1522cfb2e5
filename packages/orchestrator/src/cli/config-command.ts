import { describeConfig, loadConfig, type ConfigEntry } from '@quintet/core'
import { dirname } from 'node:path'
import { loadSystem } from '../plan/load-system.ts'
import type { Plan, PlannedApp } from '../plan/plan.ts'
import { resolveUrls, type FindPort } from '../plan/url-references.ts'
import { loadContext, print, type CommonOptions } from './context.ts'
import { table } from './format.ts'
import { selectApps } from './select-apps.ts'

/** Stands for what the supervisor provides; as long as a secret must be. */
const standIn = 'provided by quintet when the app runs, and not known before'

/** Prints every value of every app's configuration with where it comes from. Secrets are not shown. */
export async function config(name: string | undefined, options: CommonOptions): Promise<void> {
  const { plan } = await loadContext(options)
  const entries: (ConfigEntry & { readonly app: string })[] = []
  for (const app of selectApps(plan, name)) {
    const system = await loadSystem(app.bootstrap, app.name)
    if (!system.config) continue
    const provided = providedVariables(app)
    const service = plan.processes.find((each) => each.app === app.name && each.kind === 'service')
    const set = resolveUrls(service?.env ?? {}, plannedPort(plan))
    const loaded = await loadConfig({
      ...system.config,
      env: {
        ...process.env,
        ...Object.fromEntries([...provided.values()].map((variable) => [variable, standIn])),
        ...set,
      },
      baseUrl: dirname(app.bootstrap),
    })
    for (const entry of describeConfig(loaded)) {
      const variable = provided.get(entry.path)
      const origin = variable !== undefined && !(variable in set) ? 'provided by quintet' : entry.origin
      entries.push({ app: app.name, ...entry, origin })
    }
  }
  print(options, entries, (all) =>
    table([
      ['APP', 'KEY', 'VALUE', 'ORIGIN'],
      ...all.map((entry) => [entry.app, entry.path, JSON.stringify(entry.value), entry.origin]),
    ]),
  )
}

/** The ports that the plan names, which are those of a start with fixed ports. */
function plannedPort(plan: Plan): FindPort {
  return (id, transport) => plan.processes.find((each) => each.id === id)?.ports[transport]
}

/** The variables that the supervisor will set, by the path of the configuration that they stand for. */
function providedVariables({ prefix, requires }: PlannedApp): Map<string, string> {
  const variables = new Map<string, string>()
  if (requires.postgres) {
    variables.set('database.url', `${prefix}DATABASE__URL`)
    variables.set('database.systemUrl', `${prefix}DATABASE__SYSTEM_URL`)
  }
  if (requires.redis) variables.set('redis.url', `${prefix}REDIS__URL`)
  for (const name of requires.secrets) {
    const key = name.replaceAll(/-+([a-z0-9])/g, (_match, letter: string) => letter.toUpperCase())
    variables.set(`secrets.${key}`, `${prefix}SECRETS__${name.toUpperCase().replaceAll('-', '_')}`)
  }
  return variables
}
