// The gateway as a transport on the socket that the process inherits; says where.
import { inheritedSockets } from '@quintet/core/http'
import { createTestHost } from '@quintet/core/testing'
import { gatewayTransport } from '../../src/index.ts'

const fd = inheritedSockets().get('http')
if (fd === undefined) throw new Error('There is no socket "http".')
const transport = gatewayTransport({
  fd,
  routes: [{ name: 'app', path: '/app/', upstreams: ['http://127.0.0.1:1'] }],
})
const { url } = await transport.start(createTestHost())
process.stdout.write(`${url}\n`)
