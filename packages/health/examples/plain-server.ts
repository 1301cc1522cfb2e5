import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createHealth, gracefulShutdown } from '@quintet/health'

const health = createHealth({
  about: { name: 'shop', version: '1.0.0' },
  checks: [{ name: 'database', check: async () => 'ready' }],
})
const orders = health.metrics.counter('orders_total', { help: 'Orders taken.', labels: ['country'] })

const server = createServer((request, response) => {
  if (health.handle(request, response)) return
  orders.add({ country: 'de' })
  response.end('thank you\n')
})
const shutdown = gracefulShutdown(server, { health, drainTimeout: '8s' })
shutdown.onShutdown({ name: 'database', run: async () => console.log('database closed') })

server.listen(0, '127.0.0.1', async () => {
  health.markStarted()
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  console.log('ready:', await (await fetch(`${url}/readyz`)).text())
  console.log(await (await fetch(`${url}/order`)).text())
  process.kill(process.pid, 'SIGTERM')
})
