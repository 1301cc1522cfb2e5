import type { EcosystemEvent, RecordedEvent } from '../running/ecosystem-events.ts'

/** The latest events, with those who listen to new ones. */
export interface EventRecord {
  /** Oldest first. */
  readonly events: readonly RecordedEvent[]
  add(event: EcosystemEvent): void
  subscribe(listener: (event: RecordedEvent) => void): Disposable
}

const keptEvents = 1_000

export function createEventRecord(now: () => number = Date.now): EventRecord {
  const events: RecordedEvent[] = []
  const listeners = new Set<(event: RecordedEvent) => void>()
  return {
    events,
    add(event) {
      const recorded: RecordedEvent = { at: now(), ...event }
      events.push(recorded)
      if (events.length > keptEvents) events.shift()
      for (const listener of listeners) listener(recorded)
    },
    subscribe(listener) {
      listeners.add(listener)
      return { [Symbol.dispose]: () => void listeners.delete(listener) }
    },
  }
}
