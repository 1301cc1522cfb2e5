import type { System } from '@quintet/core'
import type { Links } from '@quintet/core/kit'
import { linkVariables } from '../control/messages.ts'

/**
 * Links between the processes of a system, where it has any and the supervisor says how; undefined otherwise, and
 * `createApp` explains what is missing when it needs them.
 */
export async function createProcessLinks(
  system: System,
  process: string,
  instance: number,
  env: NodeJS.ProcessEnv,
): Promise<Links | undefined> {
  const directory = env[linkVariables.directory]
  const secret = env[linkVariables.secret]
  const linked = system.processes.some(({ topology }) => topology.expose || topology.access.length > 0)
  if (!linked || !directory || !secret) return undefined
  const { createLinks } = await import('@quintet/server/link')
  return createLinks({ directory, secret, system: system.name, process, instance })
}
