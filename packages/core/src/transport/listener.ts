import { createServer, type Server } from 'node:net'
import { listen, listeningUrl, type ListenOptions } from './listen.ts'

export interface ListenerOptions extends ListenOptions {
  /** The path of a unix socket on which it listens until `takeOver`. */
  readonly standby: string | undefined
}

/** Where a server listens: on its address, or on a private socket until it takes that over. */
export interface Listener {
  url(scheme: string): string
  /** Listens on the address of the options, and then no longer on the private socket. */
  takeOver(): Promise<void>
  /** Closes the private socket. The server itself is closed by its owner. */
  close(): void
}

/** Resolves when the server listens; rejects as `listen` does. */
export async function openListener(server: Server, options: ListenerOptions): Promise<Listener> {
  if (options.standby === undefined) {
    await listen(server, options)
    return {
      url: (scheme) => listeningUrl(server, scheme),
      takeOver: async () => undefined,
      close: () => undefined,
    }
  }
  // A door of its own: a server that has closed one socket cannot be told from one that has closed.
  const door = createServer((socket) => server.emit('connection', socket))
  await new Promise<void>((resolve, reject) => {
    door.once('error', reject)
    door.listen({ path: options.standby }, resolve)
  })
  return {
    url: (scheme) => listeningUrl(server.listening ? server : door, scheme),
    async takeOver() {
      await listen(server, options)
      door.close()
    },
    close: () => void door.close(),
  }
}
