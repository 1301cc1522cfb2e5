import { defineProcess, defineSystem, type System, type Transport } from '@quintet/core'
import { createServer } from 'node:http'

/** An app that answers "ok" and does nothing else. */
export function trivialApp(name: string): System {
  return defineSystem({
    name,
    version: '1.0.0',
    processes: [
      { name: 'http', module: async () => ({ default: defineProcess({}) }), transports: { http: ok } },
    ],
  }) as System
}

const ok: Transport = {
  name: 'http',
  port: 0,
  async start(host) {
    const server = createServer((_request, response) => response.end('ok'))
    await new Promise<void>((resolve) => server.listen(host.port, '127.0.0.1', resolve))
    return {
      url: `http://127.0.0.1:${host.port}`,
      async drain() {},
      async close() {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      },
    }
  },
}
