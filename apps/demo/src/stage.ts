/** What the scenario plays on: a running ecosystem, seen from outside, and the few levers of its operator. */
export interface Stage {
  /** The gateway's address, e.g. `http://127.0.0.1:8080`. */
  readonly gatewayUrl: string
  /** The password of the platform's operator, who may turn maintenance on and off. */
  readonly operatorPassword: string
  /** Lets the operator through while maintenance is on. */
  readonly maintenanceToken: string
  /** The process id of one process of an app; 0 while it has none. */
  pidOf(app: string, process: string): Promise<number>
  /** Stops everything in order; resolves when all processes have ended. */
  stop(): Promise<void>
}
