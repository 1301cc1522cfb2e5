import { sendCommand } from '../../../control/control-client.ts'
import type { ReloadResult } from '../../../running/running-ecosystem.ts'
import { explainUnknown } from './added-since.ts'
import { locateState, print, type CommonOptions } from '../context.ts'
import { showEvents } from './show-events.ts'

/** The exit code when a new generation did not take over. */
const refused = 2

/** Reloads an app, a process, an instance, or everything. */
export async function reload(name: string | undefined, options: CommonOptions): Promise<void> {
  const command = { command: 'reload', ...(name === undefined ? {} : { name }) } as const
  const work = sendCommand(locateState(options).root, command, { onEvent: showEvents(options) })
  const result = (await (name === undefined ? work : explainUnknown(name, options, work))) as ReloadResult
  if (result.failed !== null) process.exitCode = refused
  print(options, result, formatReload)
}

function formatReload({ reloaded, restarted, failed }: ReloadResult): string {
  const lines = [
    ...(reloaded.length === 0 ? [] : [`reloaded: ${reloaded.join(', ')}`]),
    ...(restarted.length === 0 ? [] : [`restarted: ${restarted.join(', ')}`]),
    ...(failed === null ? [] : [`not reloaded: ${failed.id}: ${failed.reason}`]),
  ]
  return lines.join('\n')
}
