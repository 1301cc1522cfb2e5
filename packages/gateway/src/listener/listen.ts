import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { GatewayError } from '../errors.ts'

/**
 * Listens, and answers with the URL.
 *
 * @throws GatewayError `ERR_GATEWAY_LISTEN_FAILED`
 */
export async function listen(server: Server, host: string, port: number): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    const onError = (cause: NodeJS.ErrnoException): void => reject(explain(cause, host, port))
    server.once('error', onError)
    server.listen({ host, port }, () => {
      server.off('error', onError)
      resolve()
    })
  })
  const address = server.address() as AddressInfo
  const name = address.address === '0.0.0.0' || address.address === '::' ? '127.0.0.1' : address.address
  return `http://${address.family === 'IPv6' && name.includes(':') ? `[${name}]` : name}:${address.port}`
}

function explain(cause: NodeJS.ErrnoException, host: string, port: number): GatewayError {
  const why =
    cause.code === 'EADDRINUSE'
      ? 'the port is taken by another process. Stop it, or give another port.'
      : cause.code === 'EACCES'
        ? 'this user may not open the port. Give one from 1024 up.'
        : cause.code === 'EADDRNOTAVAIL'
          ? 'this machine does not have the address.'
          : cause.message
  return new GatewayError(
    'ERR_GATEWAY_LISTEN_FAILED',
    `The gateway cannot listen on ${host}:${port}: ${why}`,
    { cause },
  )
}
