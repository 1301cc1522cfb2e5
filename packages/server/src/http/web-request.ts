import type { IncomingMessage, ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'

/**
 * Makes the Web `Request` of an incoming message. It is Hono's lazy one: headers, body and signal come
 * into being when they are asked for.
 *
 * @param origin the scheme and host under which the client sees this server.
 */
export function toWebRequest(incoming: IncomingMessage, outgoing: ServerResponse, origin: string): Request {
  made = undefined
  failure = undefined
  // Synchronous up to the callback, which takes the request; the answer is not written by the listener.
  void convert(incoming, outgoing)
  const request = made as Request | undefined
  if (request === undefined) throw new TypeError('The message is no request.', { cause: failure })
  if (origin !== `http://${incoming.headers.host ?? ''}` && request.url.startsWith('http://')) {
    const { pathname, search } = new URL(request.url)
    Object.defineProperty(request, 'url', { value: `${origin}${pathname}${search}`, enumerable: true })
  }
  return request
}

let made: Request | undefined
let failure: unknown
const unanswered = new Promise<Response>(() => {})

const convert = getRequestListener(
  (request) => {
    made = request
    return unanswered
  },
  {
    overrideGlobalObjects: false,
    hostname: 'localhost',
    errorHandler: (error) => {
      failure = error
    },
  },
)
