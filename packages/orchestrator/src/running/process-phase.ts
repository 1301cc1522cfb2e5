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
