import type { Server } from 'node:http'
import { listen, listeningUrl, type ListenOptions } from '@quintet/core/http'
import { GatewayError } from '../errors.ts'

/**
 * Listens, and answers with the URL.
 *
 * @throws GatewayError `ERR_GATEWAY_LISTEN_FAILED`
 */
export async function listenAt(server: Server, options: ListenOptions): Promise<string> {
  try {
    await listen(server, options)
  } catch (cause) {
    throw explain(cause as NodeJS.ErrnoException, options)
  }
  return listeningUrl(server, 'http')
}

function explain(cause: NodeJS.ErrnoException, { fd, host, port }: ListenOptions): GatewayError {
  const why =
    cause.code === 'EADDRINUSE'
      ? 'the port is taken by another process. Stop it, or give another port.'
      : cause.code === 'EACCES'
        ? 'this user may not open the port. Give one from 1024 up.'
        : cause.code === 'EADDRNOTAVAIL'
          ? 'this machine does not have the address.'
          : cause.message
  const where = fd === undefined ? `${host}:${port}` : 'the socket that it inherits'
  return new GatewayError('ERR_GATEWAY_LISTEN_FAILED', `The gateway cannot listen on ${where}: ${why}`, {
    cause,
  })
}
