import proxy from '@fastify/http-proxy'
import fastify from 'fastify'

const server = fastify()
await server.register(proxy, { upstream: process.argv[2] ?? '', prefix: '/api/app' })
process.on('message', () => process.send?.(process.cpuUsage()))
process.on('disconnect', () => process.exit())
process.send?.(await server.listen({ port: 0, host: '127.0.0.1' }))
