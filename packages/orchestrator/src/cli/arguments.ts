import { InvalidArgumentError, type Command } from 'commander'
import type { CommonOptions } from './actions/context.ts'

/** The options that every command has. */
export function common(command: Command): CommonOptions {
  return command.optsWithGlobals<CommonOptions>()
}

export function toPort(text: string): number {
  const port = Number(text)
  if (Number.isInteger(port) && port >= 0 && port <= 65_535) return port
  throw new InvalidArgumentError('Give a number from 0 to 65535.')
}

export function toPorts(text: string): 'fixed' | 'auto' {
  if (text === 'fixed' || text === 'auto') return text
  throw new InvalidArgumentError("Give 'fixed' or 'auto'.")
}

export function toCount(text: string): number {
  const count = Number(text)
  if (Number.isSafeInteger(count) && count >= 0) return count
  throw new InvalidArgumentError('Give a whole number.')
}

/** Apps that were loaded to look at them may hold the process open; nothing of it is wanted here. */
export function exitWhenPrinted(): void {
  process.stdout.write('', () => process.exit())
}
