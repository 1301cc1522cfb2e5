import type { AnswerHead } from './answer-head.ts'
import type { ConnectionPool } from './connection-pool.ts'
import type { UpstreamHandler } from './connection.ts'

/** The status of the answer to a GET; undefined when there is none before the signal aborts. */
export function askStatus(
  pool: ConnectionPool,
  path: string,
  host: string,
  signal: AbortSignal,
): Promise<number | undefined> {
  return new Promise((resolve) => {
    let status: number | undefined
    const done = (answer: number | undefined): void => {
      signal.removeEventListener('abort', abort)
      resolve(answer)
    }
    const handler: UpstreamHandler = {
      sent: true,
      onSent: ignore,
      onInterim: ignore,
      onData: ignore,
      onHead(head: AnswerHead) {
        status = head.status
      },
      onEnd: () => done(status),
      onUpgrade: ignore,
      onFailure: () => done(undefined),
    }
    const head = `GET ${path} HTTP/1.1\r\nhost: ${host}\r\nconnection: keep-alive\r\n\r\n`
    const connection = pool.send({ method: 'GET', head, upgrade: false }, handler)
    const abort = (): void => {
      connection.abort(handler)
      done(undefined)
    }
    signal.addEventListener('abort', abort)
    if (signal.aborted) abort()
  })
}

function ignore(): void {
  // What a probe does not ask for.
}
