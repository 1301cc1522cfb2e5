import type { Redis } from 'ioredis'

const followers = new WeakMap<Redis, Set<() => void>>()

/** Calls back whenever the client loses its connection. All callbacks of a client share one listener, however many they are. */
export function onClose(client: Redis, callback: () => void): Disposable {
  let callbacks = followers.get(client)
  if (callbacks === undefined) {
    const added = new Set<() => void>()
    callbacks = added
    followers.set(client, added)
    client.on('close', () => {
      for (const each of added) each()
    })
  }
  const all = callbacks
  all.add(callback)
  return { [Symbol.dispose]: () => void all.delete(callback) }
}
