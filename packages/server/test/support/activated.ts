// Serves on the sockets that it inherits, and says where.
import { inheritedSockets } from '@quintet/core/http'
import { createTestHost } from '@quintet/core/testing'
import { http, websocket } from '../../src/index.ts'

const sockets = inheritedSockets()
const urls: Record<string, string | undefined> = {}
for (const [name, fd] of sockets) {
  const transport = name === 'websocket' ? websocket({ fd }) : http({ fd })
  const running = await transport.start(createTestHost())
  urls[name] = running.url
}
process.stdout.write(`${JSON.stringify(urls)}\n`)
