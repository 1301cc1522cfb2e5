import type { EcosystemEvent } from '../running/ecosystem-events.ts'
import { paint } from './paint.ts'
import { phaseColors } from './phase-colors.ts'

/** An event as one line, or undefined when it is of no use to a person who watches. */
export function formatEvent(event: EcosystemEvent): string | undefined {
  switch (event.type) {
    case 'progress':
      return event.message
    case 'server':
      return `${event.name} ${event.state}: ${event.reason}`
    case 'escalated':
      return paint(
        'red',
        event.level === 'app'
          ? `${event.id} failed, and its app with it: ${event.reason}`
          : `${event.id} failed, and everything hangs on it: stopping. ${event.reason}`,
      )
    case 'reload':
      if (event.state === 'begun') return `${event.id} ${paint('cyan', 'reloading')}`
      if (event.state === 'done') return `${event.id} ${paint('green', 'reloaded')}`
      return paint('red', `${event.id} was not reloaded, and goes on as it was: ${event.reason}`)
    case 'apply':
      if (event.state === 'done') return paint('green', event.reason)
      return paint(
        'red',
        `The ecosystem file was not applied, and everything goes on as it was: ${event.reason}`,
      )
    case 'process': {
      if (event.to === 'waiting' || event.to === 'probing') return undefined
      const delay = event.delay === undefined ? '' : `, again in ${event.delay} ms`
      const reason =
        event.to === 'backoff' || event.to === 'failed' || event.to === 'unhealthy'
          ? `: ${event.reason}${delay}`
          : ''
      return `${event.id} ${paint(phaseColors[event.to] ?? 'cyan', event.to)}${reason}`
    }
  }
}
