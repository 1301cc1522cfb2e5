import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** A TCP proxy whose connections can go silent, as behind a NAT that has forgotten them or after a failover. */
export interface SilentProxy extends AsyncDisposable {
  /** The given URL through this proxy. */
  readonly url: string
  /** Nothing passes any more on the connections that are open now; new ones work. */
  silence(): void
  /** New connections are silent from their start as well, or work again. */
  freeze(frozen: boolean): void
}

export async function createSilentProxy(target: string): Promise<SilentProxy> {
  const url = new URL(target)
  const { hostname } = url
  const port = Number(url.port)
  const open = new Set<Socket>()
  let frozen = false
  const silenceOne = (socket: Socket): void => {
    socket.unpipe()
    socket.pause()
  }
  const server = createServer((near) => {
    const far = connect(port, hostname)
    for (const [socket, other] of [
      [near, far],
      [far, near],
    ] as const) {
      open.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        open.delete(socket)
        other.destroy()
      })
      if (!frozen) socket.pipe(other)
    }
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  url.port = String((server.address() as AddressInfo).port)
  url.hostname = '127.0.0.1'
  return {
    url: url.href,
    silence: () => open.forEach(silenceOne),
    freeze(next) {
      frozen = next
      if (frozen) open.forEach(silenceOne)
    },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy()
      server.close()
      await once(server, 'close')
    },
  }
}
