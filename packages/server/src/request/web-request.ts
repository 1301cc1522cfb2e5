import type { IncomingMessage, ServerResponse } from 'node:http'
import { getRequestListener } from '@hono/node-server'
import { toBodyStream } from './body-stream.ts'

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
  Object.defineProperties(request, missing)
  const streams = incoming.method !== 'GET' && incoming.method !== 'HEAD' && !('rawBody' in incoming)
  if (streams) streamBody(request, incoming)
  return request
}

/** What a `Request` has and Hono's does not answer to. */
const missing: PropertyDescriptorMap = {
  bytes: {
    async value(this: Request) {
      return new Uint8Array(await this.arrayBuffer())
    },
  },
  isHistoryNavigation: { value: false },
  isReloadNavigation: { value: false },
}

/** Lets `body` stream straight off the connection; `text()`, `json()` and the like read it by themselves. */
function streamBody(request: Request, incoming: IncomingMessage): void {
  let body: ReadableStream<Uint8Array> | undefined
  let used = false
  const inherited = Object.getPrototypeOf(request) as object
  Object.defineProperties(request, {
    body: {
      get: () => (body ??= toBodyStream(incoming, () => (used = true))),
    },
    bodyUsed: {
      get: () => used || (body === undefined && Reflect.get(inherited, 'bodyUsed', request) === true),
    },
  })
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
