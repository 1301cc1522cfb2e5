import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** A TCP hop in front of a server that can stop passing on bytes, as a dead network does: nothing is closed. */
export interface TcpProxy extends AsyncDisposable {
  /** The address of the server, seen through the proxy. */
  readonly url: string
  /** Connections that were made so far. */
  readonly connections: number
  /** From now on nothing passes on the connections that exist; new ones work. */
  freeze(): void
  /** Ends the connections that exist; new ones work. */
  cut(): void
}

export async function startTcpProxy(target: string): Promise<TcpProxy> {
  const { hostname, port, protocol, pathname } = new URL(target)
  const sockets = new Set<Socket>()
  let connections = 0
  const server = createServer((client) => {
    connections++
    const upstream = connect(Number(port), hostname)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => sockets.delete(socket))
    }
    client.pipe(upstream).pipe(client)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `${protocol}//127.0.0.1:${String((server.address() as AddressInfo).port)}${pathname}`,
    get connections() {
      return connections
    },
    freeze() {
      for (const socket of sockets) socket.unpipe().pause()
    },
    cut() {
      for (const socket of sockets) socket.destroy()
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
