import { defineSystem } from '@quintet/core'
import { behindGateway, forOperators } from '@quintet/example-platform/gateway'
import { probes } from '@quintet/health'
import { http } from '@quintet/server'
import { bundlePage } from './bundle-page.ts'

/** A page for people: it is a client of the other apps like any other, and has no rights of its own. */
export default defineSystem({
  name: 'web',
  version: '1.0.0',
  setup: bundlePage,
  processes: [
    {
      name: 'http',
      module: './http.ts',
      transports: { http: http({ port: 3007, ...behindGateway, plugins: [probes(forOperators)] }) },
    },
  ],
})
