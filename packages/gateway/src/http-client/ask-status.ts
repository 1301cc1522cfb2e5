import type { ConnectionPool } from './connection-pool.ts'
import type { UpstreamConnection, UpstreamHandler, UpstreamRequest } from './connection.ts'

/** How much of the body is read, so that its connection can be kept. */
const longestBody = 65_536

/** The status of the answer to a GET, as soon as it is known; undefined when there is none before the signal aborts. */
export function askStatus(
  pool: ConnectionPool,
  path: string,
  host: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  return new Promise((resolve) => {
    const head = `GET ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\n\r\n`
    const request: UpstreamRequest = { method: 'GET', head, upgrade: false, repeatable: true }
    let connection: UpstreamConnection
    let read = 0
    const over = (): void => {
      signal.removeEventListener('abort', abort)
      resolve(undefined)
    }
    const abort = (): void => {
      connection.abort(handler)
      over()
    }
    const handler: UpstreamHandler = {
      sent: true,
      onSent: ignore,
      onInterim: ignore,
      onHead: ({ status }) => resolve(status),
      onData(chunk) {
        read += chunk.length
        if (read > longestBody) abort()
      },
      onEnd: over,
      onUpgrade: ignore,
      onFailure(_error, at) {
        if (at === 'stale') connection = pool.send(request, handler, true)
        else over()
      },
    }
    connection = pool.send(request, handler)
    signal.addEventListener('abort', abort)
    if (signal.aborted) abort()
  })
}

function ignore(): void {
  // What a probe does not ask for.
}
