import { Agent, createServer, request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'

/** The proxy that one writes in ten minutes: `http.request` and `pipe`, without a check of anything. */
const upstream = new URL(process.argv[2] ?? '')
const agent = new Agent({ keepAlive: true })
const server = createServer((request, response) => {
  const { host: _host, connection: _connection, ...headers } = request.headers
  const forwarded = httpRequest(
    {
      agent,
      host: upstream.hostname,
      port: upstream.port,
      method: request.method,
      path: (request.url ?? '').slice('/api/app'.length),
      headers: { ...headers, 'x-forwarded-for': request.socket.remoteAddress },
    },
    (answer) => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    },
  )
  forwarded.on('error', () => response.writeHead(502).end())
  request.pipe(forwarded)
})
server.keepAliveTimeout = 60_000
process.on('message', () => process.send?.(process.cpuUsage()))
process.on('disconnect', () => process.exit())
server.listen(0, '127.0.0.1', () =>
  process.send?.(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
)
