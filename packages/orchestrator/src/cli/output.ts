let whenLost: () => void = () => process.exit()

/** Ends the program without a stack trace when the reader of its output goes away, as `head` does. */
export function watchOutput(): void {
  process.stdout.on('error', () => whenLost())
  // What cannot be said there can be said nowhere.
  process.stderr.on('error', () => undefined)
}

/** What a command that has more to do than to print does instead of exiting at once. */
export function onOutputLost(run: () => void): void {
  whenLost = run
}
