import { parseDuration, type Duration } from '@quintet/core/client'
import { InvalidArgumentError, type Command } from 'commander'
import { levelNames, type LogLevelName } from '../logs/line-filter.ts'
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

/** A duration as in the ecosystem file, in milliseconds. */
export function toDuration(text: string): number {
  try {
    return parseDuration(text as Duration)
  } catch {
    throw new InvalidArgumentError("Give a duration such as '30s', '10m' or '2h'.")
  }
}

/** A moment: a duration ago, or a date with a time. */
export function toMoment(text: string): number {
  const date = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN
  if (!Number.isNaN(date)) return date
  try {
    return Date.now() - parseDuration(text as Duration)
  } catch {
    throw new InvalidArgumentError(
      "Give how long ago, such as '10m', or a date such as 2026-01-31T08:00:00Z.",
    )
  }
}

export function toPattern(text: string): RegExp {
  try {
    return new RegExp(text)
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message)
  }
}

export function toLevel(text: string): LogLevelName {
  const level = levelNames.find((each) => each === text)
  if (level !== undefined) return level
  throw new InvalidArgumentError(`Give one of: ${levelNames.join(', ')}.`)
}

/** Digits only: `1e3`, `0x10` and an empty text are typing errors. */
function toInteger(text: string): number {
  return /^\d+$/.test(text) ? Number(text) : Number.NaN
}

/** Apps that were loaded to look at them may hold the process open; nothing of it is wanted here. */
export function exitWhenPrinted(): void {
  process.stdout.write('', () => process.exit())
}
