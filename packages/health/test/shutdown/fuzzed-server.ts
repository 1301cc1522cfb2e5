// A plain server that shuts down gracefully, in a process of its own. Whatever it does not catch ends it with 1.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'
import { gracefulShutdown } from '../../src/index.ts'

const server = createServer((request, response) => {
  request.resume()
  setTimeout(() => response.end('hello'), 5)
})
server.headersTimeout = 1_000
const sockets = new WebSocketServer({ noServer: true })
server.on('upgrade', (request, socket, head) => {
  socket.on('error', () => socket.destroy())
  sockets.handleUpgrade(request, socket, head, (client) => client.on('error', () => client.terminate()))
})
gracefulShutdown(server, { drainTimeout: 1_000, timeout: '10s', crashes: true })
process.on('disconnect', () => process.exit(2))
server.listen(0, '127.0.0.1', () =>
  process.send?.(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
)
