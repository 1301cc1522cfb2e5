/** Five apps behind a front door, that a journey can be made through. */
export interface Stack extends AsyncDisposable {
  /** Of the front door. */
  readonly origin: string
  /** The processes whose CPU and memory count, with their descendants; servers are shared by all stacks. */
  pids(): Promise<readonly number[]>
}

/** The servers that all stacks share. */
export interface Servers {
  readonly postgresUrl: string
  readonly redisUrl: string
  /** An empty folder. */
  readonly directory: string
}
