import { InvalidArgumentError, type Command } from 'commander'
import type { CommonOptions } from './actions/context.ts'

/** The options that every command has. */
export function common(command: Command): CommonOptions {
  return command.optsWithGlobals<CommonOptions>()
}

export function toPort(text: string): number {
  const port = toInteger(text)
  if (port <= 65_535) return port
  throw new InvalidArgumentError('Give a number from 0 to 65535.')
}

export function toPorts(text: string): 'fixed' | 'auto' {
  if (text === 'fixed' || text === 'auto') return text
  throw new InvalidArgumentError("Give 'fixed' or 'auto'.")
}

export function toCount(text: string): number {
  const count = toInteger(text)
  if (Number.isSafeInteger(count)) return count
  throw new InvalidArgumentError('Give a whole number.')
}

/** Digits only: `1e3`, `0x10` and an empty text are typing errors. */
function toInteger(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : Number.NaN
}

/** Apps that were loaded to look at them may hold the process open; nothing of it is wanted here. */
export function exitWhenPrinted(): void {
  process.stdout.write('', () => process.exit())
}
