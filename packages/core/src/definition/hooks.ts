import type { App } from './app.ts'
import type { HealthReport } from '../lifecycle/health-checks.ts'

/**
 * Called in this order over the life of a process. System hooks run before those of the process on the
 * way up, and after them on the way down. A hook that rejects on the way up stops the start; one that
 * rejects on the way down is reported and the stop goes on.
 */
export interface Hooks<Services = unknown> {
  /** The configuration has been read; nothing has been made. */
  readonly beforeCreate?: (context: { readonly config: unknown }) => Promise<void> | void
  /** The services exist; nothing listens. */
  readonly afterCreate?: (app: App<Services>) => Promise<void> | void
  readonly beforeStart?: (app: App<Services>) => Promise<void> | void
  /** Everything listens; the process is not yet reported ready. */
  readonly afterStart?: (app: App<Services>) => Promise<void> | void
  /** Nothing has been drained yet. */
  readonly beforeStop?: (app: App<Services>) => Promise<void> | void
  /** All is drained and closed. */
  readonly afterStop?: (app: App<Services>) => Promise<void> | void
  /** Sees every health report, and may answer with another. */
  readonly onHealthCheck?: (report: HealthReport) => Promise<HealthReport | void> | HealthReport | void
}
