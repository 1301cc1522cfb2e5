import type { EventEmitter } from 'node:events'
import { bindCallback } from '../context/rls-context.ts'

type Listener = (...args: unknown[]) => void
type AddMethod = 'on' | 'addListener' | 'once' | 'prependListener' | 'prependOnceListener'

/** The methods of EventEmitter that add and remove listeners. */
export const changesListeners: ReadonlySet<string> = new Set([
  'on',
  'addListener',
  'once',
  'prependListener',
  'prependOnceListener',
  'off',
  'removeListener',
  'removeAllListeners',
])

/** The listeners that one holder adds to a connection, each bound to the async context that added it. */
export interface BoundListeners {
  /** The methods of {@link changesListeners}; each returns the given holder's view. */
  readonly methods: Readonly<Record<string, (...args: never[]) => unknown>>
  /** Removes what the holder has left, so that it does not hear the next one's events. */
  removeAll(): void
}

export function createBoundListeners(emitter: EventEmitter, view: () => unknown): BoundListeners {
  const added: { event: string | symbol; listener: Listener; bound: Listener }[] = []

  const add = (method: AddMethod) => (event: string | symbol, listener: Listener) => {
    const bound = bindCallback(listener)
    added.push({ event, listener, bound })
    emitter[method](event, bound)
    return view()
  }
  const remove = (event: string | symbol, listener: Listener): unknown => {
    const index = added.findLastIndex((one) => one.event === event && one.listener === listener)
    const [found] = index < 0 ? [] : added.splice(index, 1)
    if (found) emitter.removeListener(event, found.bound)
    return view()
  }
  const removeAll = (event?: string | symbol): unknown => {
    for (const one of added.filter((each) => event === undefined || each.event === event)) {
      remove(one.event, one.listener)
    }
    return view()
  }
  return {
    methods: {
      on: add('on'),
      addListener: add('addListener'),
      once: add('once'),
      prependListener: add('prependListener'),
      prependOnceListener: add('prependOnceListener'),
      off: remove,
      removeListener: remove,
      removeAllListeners: removeAll,
    },
    removeAll: () => void removeAll(),
  }
}
