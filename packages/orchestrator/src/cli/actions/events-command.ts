import { sendCommand } from '../../control/control-client.ts'
import type { RecordedEvent } from '../../running/ecosystem-events.ts'
import { formatEvent } from '../../terminal/format-event.ts'
import { locateState, type CommonOptions } from './context.ts'

export interface EventsOptions extends CommonOptions {
  readonly follow?: boolean
}

/** Prints what has happened since the supervisor was started, and follows it. */
export async function events(options: EventsOptions): Promise<void> {
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  const show = (event: RecordedEvent): void => {
    const line = options.json ? JSON.stringify(event) : formatEvent(event)
    if (line === undefined) return
    process.stdout.write(options.json ? `${line}\n` : `${new Date(event.at).toISOString()}  ${line}\n`)
  }
  await sendCommand(
    locateState(options).root,
    { command: 'events', follow: options.follow ?? false },
    { onEvent: show, signal: stop.signal },
  )
}
