import { sendCommand } from '../../../control/control-client.ts'
import { explainUnknown } from './added-since.ts'
import { showEvents } from './show-events.ts'
import { locateState, print, type CommonOptions } from '../context.ts'

export interface RestartCommandOptions extends CommonOptions {
  readonly deployment?: boolean
}

/** Restarts an app, a process or one instance, and shows meanwhile what becomes of it. */
export async function restart(name: string, options: RestartCommandOptions): Promise<void> {
  const cause = options.deployment ? 'deployment' : 'restart'
  const { root } = locateState(options)
  const work = sendCommand(root, { command: 'restart', name, cause }, { onEvent: showEvents(options) })
  const ids = (await explainUnknown(name, options, work)) as string[]
  print(options, ids, (each) => `restarted: ${each.join(', ')}`)
}
