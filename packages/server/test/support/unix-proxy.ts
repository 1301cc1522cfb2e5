import { connect, createServer, type Socket } from 'node:net'

/** A hop in front of a unix socket that can stop passing on bytes, as a process that was stopped: nothing is closed. */
export interface UnixProxy extends AsyncDisposable {
  readonly freeze: () => void
}

export async function startUnixProxy(target: string, path: string): Promise<UnixProxy> {
  const sockets = new Set<Socket>()
  let isFrozen = false
  const server = createServer((client) => {
    const upstream = connect(target)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.once('close', () => sockets.delete(socket))
    }
    if (!isFrozen) client.pipe(upstream).pipe(client)
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  return {
    freeze() {
      isFrozen = true
      for (const socket of sockets) socket.unpipe().pause()
    },
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
