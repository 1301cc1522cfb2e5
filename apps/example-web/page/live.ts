import { createRealtimeClient } from '@quintet/realtime/client'
import { byId, element, showProblem } from './elements.ts'
import type { Session } from './session.ts'

interface PlatformEvent {
  readonly id: string
  readonly topic: string
  readonly occurredAt: string
}

/** How many events are shown. */
const most = 50

/** Shows the events that the user hears, as they come, and who else of the tenant is there. */
export async function startLive(session: Session, onEvent: (topic: string) => void): Promise<void> {
  const client = createRealtimeClient({
    url: '/ws/',
    token: session.token,
    onStatus: (status) => {
      byId('connection').textContent = status === 'open' ? 'Live' : 'Connecting …'
    },
  })
  const present = new Set<string>()
  const showPresent = (): void => {
    byId('present').textContent = [...present]
      .map((id) => (id === session.user.id ? 'you' : id.slice(-6)))
      .join(', ')
  }
  // One event may come on several channels.
  const seen = new Set<string>()
  const { items } = await session.call<{ items: readonly { channel: string }[] }>(
    'realtime',
    'channels/mine',
    {},
  )
  const subscriptions = items.map(({ channel }) =>
    client.subscribe<PlatformEvent>(channel, {
      onEvent: ({ id, topic, occurredAt }) => {
        if (seen.has(id)) return
        seen.add(id)
        const time = new Date(occurredAt).toLocaleTimeString()
        const list = byId('events')
        list.prepend(element('li', `${time} ${topic}`))
        while (list.children.length > most) list.lastElementChild?.remove()
        onEvent(topic)
      },
      onSubscribed: ({ present: users }) => {
        if (users === undefined) return
        present.clear()
        for (const user of users) present.add(user)
        showPresent()
      },
      onPresence: (change, user) => {
        if (change === 'join') present.add(user)
        else present.delete(user)
        showPresent()
      },
      onEnded: showProblem,
    }),
  )
  await Promise.all(subscriptions.map(({ ready }) => ready))
}
