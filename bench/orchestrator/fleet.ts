/** Apps that answer "ok", under a supervisor that runs in the background, as its command line starts them. */
export interface Fleet {
  /** From the command to the answer of every app, in milliseconds. */
  up(): Promise<number>
  /** The supervisor; it must run. */
  daemon(): Promise<number>
  apps(): Promise<readonly RunningApp[]>
  /** The command that shows how everything is. */
  status(): Promise<void>
  /** Puts a new process in the place of the first app's. */
  reload(): Promise<void>
  down(): Promise<void>
  /** Ends what runs, and removes its files. */
  dispose(): Promise<void>
}

export interface RunningApp {
  readonly name: string
  readonly pid: number
  readonly url: string
}

export interface FleetOptions {
  readonly apps: number
  /** Apps that are able to be reloaded; else the least that answers. */
  readonly reloadable?: boolean
}

/** Whether an app answers, over a connection of its own. */
export async function answers(url: string): Promise<boolean> {
  return fetch(url, { headers: { connection: 'close' } }).then(
    (response) => response.ok,
    () => false,
  )
}

export async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 2))
}
