// An app with HTTP and WebSockets on one port, in a process of its own. Whatever it does not catch ends it.
import {
  createApp,
  defineProcess,
  defineSystem,
  procedure,
  route,
  service,
  silentLogger,
} from '@quintet/core'
import { http } from '../../src/index.ts'

const echo = service('echo', {
  ping: procedure({ access: 'public' }, () => 'pong'),
})
const hello = route({
  method: 'GET',
  pattern: '/hello',
  access: 'public',
  handler: () => new Response('hello'),
})
const upload = route({
  method: 'POST',
  pattern: '/hello',
  access: 'public',
  handler: async (request) => new Response(await request.text()),
})
const app = await createApp(
  defineSystem({
    name: 'fuzzed',
    version: '1.0.0',
    processes: [
      {
        name: 'main',
        module: async () => ({ default: defineProcess({ services: [echo], routes: [hello, upload] }) }),
        transports: {
          http: http({ port: 0, websocket: {}, headersTimeout: '1s', uploadProgressTimeout: '1s' }),
        },
      },
    ],
  }),
  { logger: silentLogger },
)
process.on('message', async () => {
  await app.stop('shutdown')
  process.send?.('stopped')
})
process.on('disconnect', () => process.exit())
process.send?.(app.transports.get('http')?.url)
