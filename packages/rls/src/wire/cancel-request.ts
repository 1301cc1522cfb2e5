import type { EventEmitter } from 'node:events'
import type { PoolClient } from 'pg'

/** What pg keeps of a connection and of its server. */
interface ConnectedClient {
  readonly processID: number | null
  readonly secretKey: number | null
  readonly host: string
  readonly port: number
  readonly ssl: unknown
  readonly constructor: new (options: object) => { readonly connection: DriverSocket }
}

interface DriverSocket extends EventEmitter {
  connect(port: number | string, host?: string): void
  requestSsl(): void
  cancel(processId: number, secretKey: number): void
  readonly stream: { destroy(): void }
}

/** For how long the server may be unreachable, in milliseconds, before the request is given up. */
const unreachableAfter = 5_000

/**
 * Sends the protocol's CancelRequest for what the connection is doing, over a connection of its own. Resolves
 * when the server has closed that one, which says nothing of the statement: its own answer does.
 *
 * @see PostgreSQL, Frontend/Backend Protocol, Canceling Requests in Progress
 */
export function requestCancel(client: PoolClient): Promise<void> {
  const { processID, secretKey, host, port, ssl, constructor: Client } = client as unknown as ConnectedClient
  if (processID === null || secretKey === null) return Promise.resolve()
  const { connection } = new Client({ host, port, ssl, user: 'cancel' })
  return new Promise((resolve) => {
    const timer = setTimeout(end, unreachableAfter)
    function end(): void {
      clearTimeout(timer)
      connection.stream.destroy()
      resolve()
    }
    const send = (): void => connection.cancel(processID, secretKey)
    connection.on('connect', () => (ssl ? connection.requestSsl() : send()))
    connection.on('sslconnect', send)
    connection.on('error', end)
    connection.on('end', end)
    if (host.startsWith('/')) connection.connect(`${host}/.s.PGSQL.${port}`)
    else connection.connect(port, host)
  })
}
