import type { EcosystemEvent } from '../../../running/ecosystem-events.ts'
import { formatEvent } from '../../../terminal/format-event.ts'
import type { CommonOptions } from '../context.ts'

/** Shows what happens while a command waits; its answer alone goes to the standard output. */
export function showEvents(options: CommonOptions): (event: EcosystemEvent) => void {
  return (event) => {
    const line = options.json ? undefined : formatEvent(event)
    if (line !== undefined) process.stderr.write(`${line}\n`)
  }
}
