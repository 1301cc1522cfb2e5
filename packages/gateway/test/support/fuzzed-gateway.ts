// A gateway in a process of its own, before an unruly upstream. Whatever it does not catch ends it.
import { createGateway } from '../../src/index.ts'
import { startUnrulyUpstream } from './unruly-upstream.ts'

const seed = Number(process.argv[2])
const upstreams = [await startUnrulyUpstream(seed), await startUnrulyUpstream(seed + 1)].map(({ url }) => url)
const gateway = await createGateway({
  port: 0,
  timeouts: { headers: 100, idle: 200, requestHeaders: 500 },
  probes: false,
  routes: [
    { name: 'app', path: '/api/app/', upstreams },
    { name: 'live', path: '/ws/', upstreams, websocket: true },
  ],
})
process.on('message', () => {
  const { connections, requests, websockets, routes } = gateway.status()
  process.send?.({ connections, requests, websockets, routes })
})
process.on('disconnect', () => process.exit())
process.send?.(gateway.url)
