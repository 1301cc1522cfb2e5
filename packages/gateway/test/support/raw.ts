import { connect, createServer, type AddressInfo, type Socket } from 'node:net'

/** Sends bytes as they are and collects everything until the other side closes, or `enough` says that it is all. */
export async function exchangeRaw(
  url: string,
  request: string | Buffer,
  enough: (received: string) => boolean = () => false,
  timeoutMs = 5_000,
): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  let received = ''
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`no complete answer after ${timeoutMs} ms; got: ${received}`)),
        timeoutMs,
      )
      const done = (): void => {
        clearTimeout(timer)
        resolve()
      }
      socket.on('connect', () => socket.write(request))
      socket.on('data', (chunk) => {
        received += chunk.toString('latin1')
        if (enough(received)) done()
      })
      socket.on('error', done)
      socket.on('close', done)
    })
  } finally {
    socket.destroy()
  }
  return received
}

/** The status of the first answer in it; 0 for none. */
export function statusOf(received: string): number {
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(received)?.[1] ?? 0)
}

export interface RawServer extends AsyncDisposable {
  readonly url: string
  readonly port: number
  /** All bytes received, over all connections. */
  readonly received: string
  readonly connections: Socket[]
  /** Does not end its side of a connection when the other one ends. */
  allowHalfOpen(): void
}

/** A server that speaks bytes: `onData` sees what has come on a connection so far. */
export async function startRawServer(onData: (socket: Socket, received: string) => void): Promise<RawServer> {
  let all = ''
  let halfOpen = false
  const connections: Socket[] = []
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    connections.push(socket)
    if (!halfOpen) socket.on('end', () => socket.end())
    let received = ''
    socket.on('error', () => socket.destroy())
    socket.on('data', (chunk) => {
      received += chunk.toString('latin1')
      all += chunk.toString('latin1')
      onData(socket, received)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    get received() {
      return all
    },
    connections,
    allowHalfOpen() {
      halfOpen = true
    },
    async [Symbol.asyncDispose]() {
      for (const socket of connections) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
