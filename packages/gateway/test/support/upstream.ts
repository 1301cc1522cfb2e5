import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

export interface TestUpstream extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly server: Server
  /** Requests seen so far. */
  readonly seen: IncomingMessage[]
  stop(): Promise<void>
}

/** Starts an HTTP server on a free port. Without a handler it answers with what it saw. */
export async function startUpstream(
  handler: (request: IncomingMessage, response: ServerResponse) => void = echo,
  options: { readonly port?: number } = {},
): Promise<TestUpstream> {
  const seen: IncomingMessage[] = []
  const server = createServer((request, response) => {
    seen.push(request)
    handler(request, response)
  })
  await new Promise<void>((resolve) => server.listen(options.port ?? 0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const stop = async (): Promise<void> => {
    if (!server.listening) return
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
  }
  return { url: `http://127.0.0.1:${port}`, port, server, seen, stop, [Symbol.asyncDispose]: stop }
}

/** What {@link echo} answers with. */
export interface Echo {
  readonly method: string
  readonly url: string
  readonly headers: Record<string, string>
  readonly rawHeaders: string[]
  readonly body: string
}

function echo(request: IncomingMessage, response: ServerResponse): void {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    response.setHeader('content-type', 'application/json')
    response.end(
      JSON.stringify({
        method: request.method,
        url: request.url,
        headers: request.headers,
        rawHeaders: request.rawHeaders,
        body: Buffer.concat(chunks).toString(),
      }),
    )
  })
}
