/** Where a process is in its life. */
export type ProcessPhase =
  | 'waiting'
  | 'starting'
  | 'probing'
  | 'ready'
  | 'unhealthy'
  | 'stopping'
  | 'stopped'
  | 'backoff'
  | 'failed'
  | 'completed'

/** It has no child and will not get one by itself. */
export function isOver(phase: ProcessPhase): boolean {
  return phase === 'failed' || phase === 'stopped' || phase === 'completed'
}
