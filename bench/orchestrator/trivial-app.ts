import { defineProcess, defineSystem, route, type System, type Transport } from '@quintet/core'
import { http } from '@quintet/server'
import { createOkServer } from './ok-server.mjs'

/** An app with the server of `plain.mjs`. */
export function trivialApp(name: string): System {
  return defineSystem({
    name,
    version: '1.0.0',
    processes: [
      { name: 'http', module: async () => ({ default: defineProcess({}) }), transports: { http: ok } },
    ],
  }) as System
}

/** An app behind `http()`, which can be reloaded without dropping a request. */
export function reloadableApp(name: string): System {
  const which = route({ method: 'GET', pattern: '/', access: 'public', handler: () => new Response('ok') })
  return defineSystem({
    name,
    version: '1.0.0',
    processes: [
      {
        name: 'http',
        module: async () => ({ default: defineProcess({ routes: [which] }) }),
        transports: { http: http({ port: 0 }) },
      },
    ],
  }) as System
}

const ok: Transport = {
  name: 'http',
  port: 0,
  async start(host) {
    const server = createOkServer()
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
