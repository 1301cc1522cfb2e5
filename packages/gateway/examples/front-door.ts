import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createGateway } from '@quintet/gateway'

// An app that knows nothing of the path under which it is reached.
const app = createServer((request, response) => response.end(`you asked for ${request.url}`))
await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve))
const { port } = app.address() as AddressInfo

const gateway = await createGateway({
  port: 0,
  routes: [
    { name: 'media', path: '/api/media/', upstreams: [`http://127.0.0.1:${port}`], maxRequestSize: '10gb' },
    {
      name: 'live',
      path: '/ws/',
      upstreams: [`http://127.0.0.1:${port}`],
      websocket: true,
      affinity: 'tenant',
    },
  ],
})

const response = await fetch(`${gateway.url}/api/media/objects/1`)
console.log(response.status, await response.text())

await gateway.drain('shutdown', AbortSignal.timeout(5_000))
await gateway.close()
app.close()
