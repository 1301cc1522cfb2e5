import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** A network between a client and a server on this host that can fail. */
export interface Proxy extends AsyncDisposable {
  readonly url: string
  /** From now on bytes are lost, and connections stay open. */
  swallow(): void
  /** Ends all connections, and lets no new one begin. */
  cut(): void
  /** Lets connections begin again. */
  restore(): void
}

/** Answers take `delay` milliseconds longer; what clients send passes at once. */
export async function startProxy(port: number, delay = 0): Promise<Proxy> {
  const sockets = new Set<Socket>()
  let state: 'open' | 'silent' | 'cut' = 'open'
  const server = createServer((client) => {
    if (state === 'cut') return void client.destroy()
    const upstream = connect(port, '127.0.0.1')
    for (const [from, to] of [
      [client, upstream],
      [upstream, client],
    ] as const) {
      sockets.add(from)
      from.on('error', () => undefined)
      from.on('close', () => to.destroy())
      from.on('data', (bytes) => {
        if (state === 'silent') return
        if (delay === 0 || to === upstream) to.write(bytes)
        else setTimeout(() => to.write(bytes), delay)
      })
    }
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const end = (): void => {
    for (const socket of sockets) socket.destroy()
    sockets.clear()
  }
  return {
    url: `redis://127.0.0.1:${(server.address() as AddressInfo).port}`,
    swallow() {
      state = 'silent'
    },
    cut() {
      state = 'cut'
      end()
    },
    restore() {
      state = 'open'
    },
    async [Symbol.asyncDispose]() {
      end()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
