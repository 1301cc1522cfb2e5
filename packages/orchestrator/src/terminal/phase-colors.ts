import type { Color } from './paint.ts'

/** The colour in which the phase of a process is shown. */
export const phaseColors: Readonly<Record<string, Color>> = {
  ready: 'green',
  completed: 'green',
  unhealthy: 'red',
  failed: 'red',
  backoff: 'red',
  stopped: 'gray',
}
