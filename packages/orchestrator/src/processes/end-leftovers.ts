import { setTimeout as delay } from 'node:timers/promises'

export interface EndLeftoversOptions {
  /** Asks for an orderly end. */
  readonly signal: 'SIGINT' | 'SIGTERM'
  /** Milliseconds until those that are left are killed. */
  readonly graceMs: number
  /** Told how many there are, where there are any. */
  readonly onFound?: (count: number) => void
}

/** How long a killed process may take to be gone. */
const killTimeout = 5_000

/** Ends the processes that an earlier run has left behind, and resolves when none is found any more. */
export async function endLeftovers(
  find: () => Promise<readonly number[]>,
  { signal, graceMs, onFound }: EndLeftoversOptions,
): Promise<void> {
  let left = await find()
  if (left.length === 0) return
  onFound?.(left.length)
  for (const [name, timeout] of [
    [signal, graceMs],
    ['SIGKILL', killTimeout],
  ] as const) {
    for (const pid of left) kill(pid, name)
    const deadline = performance.now() + timeout
    do {
      await delay(25)
      left = await find()
    } while (left.length > 0 && performance.now() < deadline)
    if (left.length === 0) return
  }
}

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch {
    // Gone already.
  }
}
