import type { AddressInfo, Server } from 'node:net'

/** Where a server listens: on a socket that the process has inherited, or else on a host and port. */
export interface ListenOptions {
  /** The file descriptor of a listening socket. */
  readonly fd: number | undefined
  readonly host: string
  readonly port: number
}

/** Resolves when the server listens; rejects with what the operating system says, or with a TypeError for a descriptor that is no listening socket. */
export async function listen(server: Server, { fd, host, port }: ListenOptions): Promise<void> {
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(fd === undefined ? { host, port } : { fd }, () => {
        server.off('error', reject)
        resolve()
      })
    })
  } catch (cause) {
    if (fd === undefined) throw cause
    throw new TypeError(`The descriptor ${fd} is no socket to listen on: ${(cause as Error).message}.`, {
      cause,
    })
  }
}

/** Where a server can be reached from this machine, e.g. `http://127.0.0.1:3002`, or `unix:` and a path. */
export function listeningUrl(server: Server, scheme: string): string {
  const found = server.address() as AddressInfo | string
  if (typeof found === 'string') return `unix:${found}`
  const { address, port } = found
  const reachable = address === '0.0.0.0' ? '127.0.0.1' : address === '::' ? '::1' : address
  return `${scheme}://${reachable.includes(':') ? `[${reachable}]` : reachable}:${port}`
}
