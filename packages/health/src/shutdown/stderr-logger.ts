import { inspect } from 'node:util'
import { silentLogger, type Logger } from '@quintet/core'

/** The default logger of a shutdown: errors go to stderr as text, because the process ends right after them. */
export const stderrLogger: Logger = Object.freeze({
  ...silentLogger,
  error: writeToStderr,
  fatal: writeToStderr,
  child: () => stderrLogger,
})

function writeToStderr(fields: object, message = ''): void {
  const { err } = fields as { readonly err?: unknown }
  process.stderr.write(`${describe(message, err)}\n`)
}

/** The inspection of an error begins with its message, which need not be there twice. */
function describe(message: string, err: unknown): string {
  if (err === undefined) return message
  return err instanceof Error && err.message === message ? inspect(err) : `${message}: ${inspect(err)}`
}
