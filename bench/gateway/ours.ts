import { createGateway } from '@quintet/gateway'

const gateway = await createGateway({
  port: 0,
  routes: [{ name: 'app', path: '/api/app/', upstreams: [process.argv[2] ?? ''] }],
})
process.on('message', () => process.send?.(process.cpuUsage()))
process.on('disconnect', () => process.exit())
process.send?.(gateway.url)
