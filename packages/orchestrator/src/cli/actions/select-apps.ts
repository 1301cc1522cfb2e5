import { OrchestratorError } from '../../errors.ts'
import type { Plan, PlannedApp } from '../../plan/plan.ts'

/** An app that is a system, of which its file tells more. */
export type SystemApp = PlannedApp & { readonly bootstrap: string }

/** As {@link selectApps}, without apps that are commands. */
export function selectSystems(plan: Plan, name: string | undefined): readonly SystemApp[] {
  return selectApps(plan, name, ({ bootstrap }) => bootstrap !== null) as readonly SystemApp[]
}

/** The app that was named, or all that the filter lets through. */
export function selectApps(
  plan: Plan,
  name: string | undefined,
  filter: (app: PlannedApp) => boolean = () => true,
): readonly PlannedApp[] {
  const candidates = plan.apps.filter(filter)
  if (name === undefined) return candidates
  const found = candidates.filter((app) => app.name === name)
  if (found.length > 0) return found
  throw new OrchestratorError(
    `There is no such app "${name}" here. Apps: ${candidates.map((app) => app.name).join(', ') || 'none'}.`,
    {
      code: 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS',
      kind: 'not-found',
    },
  )
}
