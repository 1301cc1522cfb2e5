import { once } from 'node:events'
import { lookup } from 'node:dns/promises'
import { BoundSocket, createServer, type Server } from 'node:net'
import { OrchestratorError } from '../errors.ts'
import { describePortOwner, findPortOwner } from '../processes/port-owner.ts'

export interface SocketAddress {
  /** Of the transport. */
  readonly name: string
  readonly host: string
  readonly port: number
}

/** Sockets in the state LISTEN that are to be handed on. */
export interface ListeningSockets {
  /** In the order of the addresses. */
  readonly fds: readonly number[]
  /** Closes our copies. In the same turn in which they were handed on: clients are not for us. */
  close(): void
}

/** @throws OrchestratorError `ERR_ORCHESTRATOR_PORT_IN_USE` naming what has an address already. */
export async function openListeningSockets(addresses: readonly SocketAddress[]): Promise<ListeningSockets> {
  const servers: Server[] = []
  const close = (): void => {
    for (const server of servers) server.close()
  }
  const fds: number[] = []
  try {
    for (const address of addresses) {
      const { address: host } = await lookup(address.host)
      const socket = new BoundSocket({ host, port: address.port })
      fds.push(socket.fd())
      const server = createServer((client) => client.destroy())
      servers.push(server)
      server.listen(socket)
      await once(server, 'listening')
    }
  } catch (error) {
    close()
    throw await explain(error as NodeJS.ErrnoException, addresses[servers.length] ?? addresses.at(-1))
  }
  return { fds, close }
}

async function explain(
  error: NodeJS.ErrnoException,
  address: SocketAddress | undefined,
): Promise<OrchestratorError> {
  const where = address ? `${address.host}:${address.port}` : 'an address'
  const why =
    error.code === 'EADDRINUSE' && address
      ? `it is in use by ${describePortOwner(await findPortOwner(address.port))}`
      : error.message
  return new OrchestratorError(`${where} cannot be listened on: ${why}.`, {
    code: 'ERR_ORCHESTRATOR_PORT_IN_USE',
    kind: 'conflict',
    cause: error,
  })
}
