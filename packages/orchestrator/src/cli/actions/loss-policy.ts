import type { SupervisorLossPolicy } from '@quintet/core/ecosystem'

/** How a supervisor is started. */
export interface Start {
  readonly dev: boolean
  readonly foreground: boolean
  readonly platform: NodeJS.Platform
}

/**
 * What becomes of everything when the supervisor is killed: what the ecosystem file says, except under `dev`. Without a
 * word, what runs in the background goes on, where that can be had.
 */
export function lossPolicy(
  said: SupervisorLossPolicy | null,
  { dev, foreground, platform }: Start,
): SupervisorLossPolicy {
  if (dev) return 'stop'
  return said ?? (!foreground && platform === 'linux' ? 'keep' : 'stop')
}
