import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** The app behind every proxy of the bench: 210 bytes of JSON, at once. */
const body = JSON.stringify({
  items: Array.from({ length: 6 }, (_, id) => ({ id, name: 'an item', done: false })),
})
const server = createServer((request, response) => {
  request.resume()
  response.setHeader('content-type', 'application/json')
  response.end(body)
})
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () =>
  process.send?.(`http://127.0.0.1:${(server.address() as AddressInfo).port}`),
)
process.on('disconnect', () => process.exit())
