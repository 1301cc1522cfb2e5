import type { System } from '@quintet/core'
import { type ConfigEntry, describeConfig, loadConfig } from '@quintet/core/kit'
import { dirname } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import { sendCommand } from '../../control/control-client.ts'
import { describeError, OrchestratorError } from '../../errors.ts'
import { loadSystem } from '../../plan/load-system.ts'
import type { Plan, PlannedApp, PlannedProcess } from '../../plan/plan.ts'
import { resolveUrls, type FindPort } from '../../plan/url-references.ts'
import type { EcosystemStatus } from '../../running/ecosystem-status.ts'
import { readLock } from '../../state/lock.ts'
import type { StateDirectory } from '../../state/state-directory.ts'
import { loadContext, print, type CommonOptions } from './context.ts'
import { table } from '../../terminal/table.ts'
import { selectSystems, type SystemApp } from './select-apps.ts'

/** Stands for what the supervisor provides; as long as a secret must be. */
const standIn = 'provided by quintet when the app runs, and not known before'

/** One value as it is printed. */
interface Entry extends ConfigEntry {
  readonly app: string
  /** Null where all processes of the app have the same. */
  readonly process: string | null
}

/**
 * Prints every value of every app's configuration with where it comes from. Secrets are not shown.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_CONFIG_INVALID` with the problems of all apps.
 */
export async function config(name: string | undefined, options: CommonOptions): Promise<void> {
  const { plan, state } = await loadContext(options)
  const findPort = await portsInUse(plan, state)
  const entries: Entry[] = []
  const problems = new Set<string>()
  for (const app of selectSystems(plan, name)) {
    const system = await loadSystem(app.bootstrap, app.name)
    const read: Entry[] = []
    const processes = plan.processes.filter(
      (each) => each.app === app.name && each.kind === 'service' && each.instance === 0,
    )
    for (const planned of processes) {
      if (!system.config) continue
      try {
        const described = await describe(system.config, app, planned, findPort)
        read.push(...described.map((entry) => ({ app: app.name, process: planned.process, ...entry })))
      } catch (error) {
        problems.add(`${app.name}: ${describeError(error)}`)
      }
    }
    entries.push(...mergeProcesses(read, processes.length))
  }
  if (problems.size > 0) {
    throw new OrchestratorError([...problems].join('\n'), {
      code: 'ERR_ORCHESTRATOR_CONFIG_INVALID',
      kind: 'invalid-input',
    })
  }
  print(options, entries, (all) =>
    table([
      ['APP', 'KEY', 'VALUE', 'ORIGIN'],
      ...all.map(({ app, process: only, path, value, origin }) => [
        only === null ? app : `${app}/${only}`,
        path,
        JSON.stringify(value),
        origin,
      ]),
    ]),
  )
}

/** The configuration that one process of an app gets. */
async function describe(
  declared: NonNullable<System['config']>,
  app: SystemApp,
  planned: PlannedProcess,
  findPort: FindPort,
): Promise<readonly ConfigEntry[]> {
  const provided = providedVariables(app)
  const set = resolveUrls(planned.env, findPort)
  const loaded = await loadConfig({
    ...declared,
    env: {
      ...process.env,
      ...Object.fromEntries([...provided.values()].map((variable) => [variable, standIn])),
      ...set,
    },
    baseUrl: dirname(app.bootstrap),
  })
  return describeConfig(loaded).map((entry) => {
    const variable = provided.get(entry.path)
    const isProvided = variable !== undefined && !(variable in set)
    return isProvided ? { ...entry, origin: 'provided by quintet' } : entry
  })
}

/** Entries that all processes of an app share become one. */
function mergeProcesses(entries: readonly Entry[], processes: number): Entry[] {
  const groups = Object.values(Object.groupBy(entries, ({ path }) => path)).map((group = []) => {
    const [first] = group
    const isShared =
      group.length === processes &&
      group.every(({ value, origin }) => isDeepStrictEqual([value, origin], [first?.value, first?.origin]))
    return isShared && first !== undefined ? [{ ...first, process: null }] : group
  })
  return groups.flat()
}

/** The ports that the processes have while the ecosystem runs, and else those that the plan names. */
async function portsInUse(plan: Plan, state: StateDirectory): Promise<FindPort> {
  const running = (await readLock(state.root)) !== undefined
  const status = running
    ? ((await sendCommand(state.root, { command: 'status' })) as EcosystemStatus)
    : undefined
  return (id, transport) => {
    const url = status?.processes.find((each) => each.id === id)?.urls[transport]
    if (url !== undefined) return Number(new URL(url).port)
    return plan.processes.find((each) => each.id === id)?.ports[transport]
  }
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
