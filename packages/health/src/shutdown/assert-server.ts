import { Server as NetServer } from 'node:net'
import type { AnyServer } from '@quintet/core/http'

/** @throws TypeError for what is no server, e.g. an Express application. */
export function assertServer(server: unknown): asserts server is AnyServer {
  if (server instanceof NetServer) return
  const given = typeof server === 'function' ? 'a function, as an Express application is' : typeof server
  throw new TypeError(
    `gracefulShutdown: needs a server of node:http, node:https or node:http2, which app.listen() returns; this is ${given}.`,
  )
}
