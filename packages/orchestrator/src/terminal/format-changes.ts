import { isUnchanged, type PlanChanges, type ProcessChange } from '../running/plan-changes.ts'
import { table } from './table.ts'

/** What a plan would change, one process a line. */
export function formatChanges(changes: PlanChanges): string {
  if (isUnchanged(changes)) return 'nothing has changed'
  const { started, stopped, reloaded, supervised, settings } = changes
  return table([
    ['CHANGE', 'OF', 'BECAUSE'],
    ...stopped.map((id) => ['stop', id, 'it is no part of the file any more']),
    ...started.map((id) => ['start', id, 'it is new']),
    ...reloaded.map((change) => ['reload', ...describe(change)]),
    ...supervised.map((change) => ['supervise', ...describe(change)]),
    ...settings.map((name) => ['supervise', 'everything', name]),
  ])
}

function describe({ id, because }: ProcessChange): [string, string] {
  return [id, because.join(', ')]
}
