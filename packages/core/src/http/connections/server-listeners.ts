import type { EventEmitter } from 'node:events'

// eslint-disable-next-line typescript/no-explicit-any -- each event has parameters of its own.
type Listeners = Readonly<Record<string, (...parameters: any[]) => void>>

interface ServerListeners {
  /** Added as they are. */
  readonly observed: Listeners
  /**
   * Put first, and only once the application listens to the event itself: a listener to `upgrade` or `checkContinue`
   * alone would make Node hand over requests that it otherwise answers.
   */
  readonly answering: Listeners
}

/** Adds listeners that change nothing about what a server does. @returns a function that removes them. */
export function addListeners(server: EventEmitter, { observed, answering }: ServerListeners): () => void {
  for (const [event, listener] of Object.entries(observed)) server.on(event, listener)
  for (const [event, listener] of Object.entries(answering)) {
    if (server.listenerCount(event) > 0) server.prependListener(event, listener)
  }
  const onNewListener = (event: string | symbol): void => {
    const listener = typeof event === 'string' ? answering[event] : undefined
    if (listener === undefined || server.listenerCount(event) > 0) return
    queueMicrotask(() => {
      if (server.listenerCount(event) > 0 && !server.listeners(event).includes(listener))
        server.prependListener(event, listener)
    })
  }
  server.on('newListener', onNewListener)
  return () => {
    server.off('newListener', onNewListener)
    for (const [event, listener] of Object.entries({ ...observed, ...answering })) server.off(event, listener)
  }
}
