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
  const request = made as LazyRequest | undefined
  if (request === undefined) throw new TypeError('The message is no request.', { cause: failure })
  if (origin !== `http://${incoming.headers.host ?? ''}` && request.url.startsWith('http://')) {
    const { pathname, search } = new URL(request.url)
    Object.defineProperty(request, 'url', { value: `${origin}${pathname}${search}`, enumerable: true })
  }
  const streams = incoming.method !== 'GET' && incoming.method !== 'HEAD' && !('rawBody' in incoming)
  prototypes ??= makePrototypes(Object.getPrototypeOf(request) as object)
  if (streams) request[source] = incoming
  return Object.setPrototypeOf(request, streams ? prototypes.streaming : prototypes.whole) as Request
}

/** The message whose body a request streams. */
const source = Symbol('source')
/** Its body, once something has asked for the stream. */
const stream = Symbol('stream')
/** Whether a reader has taken something of the stream, or the stream itself has been given away. */
const used = Symbol('used')

interface LazyRequest extends Request {
  [source]?: IncomingMessage
  [stream]?: ReadableStream<Uint8Array>
  [used]?: boolean
}

interface Prototypes {
  /** Of requests without a body, or with one that was read already. */
  readonly whole: object
  /** Of requests whose body is still on the connection. */
  readonly streaming: object
}

let prototypes: Prototypes | undefined

function makePrototypes(lazy: object): Prototypes {
  const whole = Object.create(lazy, missing) as object
  return { whole, streaming: Object.create(whole, streamed(lazy)) as object }
}

/** What a `Request` has and Hono's does not answer to, or only by making a whole one that reads the body by itself. */
const missing: PropertyDescriptorMap = {
  bytes: {
    async value(this: Request) {
      return new Uint8Array(await this.arrayBuffer())
    },
  },
  isHistoryNavigation: { value: false },
  isReloadNavigation: { value: false },
}
const plain = new Request('http://localhost')
for (const name of [
  'cache',
  'credentials',
  'destination',
  'duplex',
  'integrity',
  'keepalive',
  'mode',
  'redirect',
  'referrer',
  'referrerPolicy',
]) {
  missing[name] = { value: Reflect.get(plain, name) as unknown }
}

/**
 * Lets `body` stream straight off the connection. Until it is asked for, `text()`, `json()` and the like read the
 * connection by themselves, which is faster; from then on they read the stream.
 */
function streamed(lazy: object): PropertyDescriptorMap {
  const isRead = (request: LazyRequest): boolean => Reflect.get(lazy, 'bodyUsed', request) === true
  const bodyOf = (request: LazyRequest): ReadableStream<Uint8Array> => {
    const incoming = request[source]
    if (incoming === undefined || isRead(request)) return ended()
    if (request[stream] !== undefined) return request[stream]
    const body = toBodyStream(incoming, () => {
      // A clone reads the connection too.
      if (request[stream] === body) request[used] = true
    })
    request[stream] = body
    return body
  }
  const answerOf = (request: LazyRequest): Response => {
    if (isUsed(request)) throw new TypeError('Body is unusable: Body has already been read')
    const type = request.headers.get('content-type')
    const answer = new Response(bodyOf(request), type === null ? {} : { headers: { 'content-type': type } })
    request[used] = true
    return answer
  }
  const isUsed = (request: LazyRequest): boolean => request[used] === true || isRead(request)
  const properties: PropertyDescriptorMap = {
    body: {
      get(this: LazyRequest) {
        return bodyOf(this)
      },
    },
    bodyUsed: {
      get(this: LazyRequest) {
        return isUsed(this)
      },
    },
    clone: {
      value(this: LazyRequest) {
        const body = bodyOf(this)
        if (isUsed(this) || body.locked) throw new TypeError('Body is unusable: Body has already been read')
        const [mine, copy] = body.tee()
        this[stream] = mine
        return toStandard(this, copy)
      },
    },
    formData: {
      async value(this: LazyRequest) {
        return answerOf(this).formData()
      },
    },
  }
  for (const name of ['text', 'json', 'arrayBuffer', 'blob'] as const) {
    const direct = Reflect.get(lazy, name) as (this: Request) => Promise<unknown>
    properties[name] = {
      async value(this: LazyRequest) {
        return this[stream] === undefined ? direct.call(this) : answerOf(this)[name]()
      },
    }
  }
  return properties
}

function ended(): ReadableStream<Uint8Array> {
  return new ReadableStream({ start: (controller) => controller.close() })
}

const Standard = globalThis.Request

/** A request of the runtime with the same content. */
function toStandard(request: Request, body: ReadableStream<Uint8Array> | null): Request {
  const { url, method, headers, signal } = request
  return new Standard(url, { method, headers, signal, body, ...(body !== null && { duplex: 'half' }) })
}

/**
 * Has the global `Request` take the requests of routes too: `new Request(request, …)`, which many middlewares call. The
 * runtime's own constructor takes none but its own. Done once for all servers of the process.
 */
export function adoptRequests(): void {
  if (globalThis.Request === adopting) return
  adopting = new Proxy(globalThis.Request, {
    construct(target, [input, init]: ConstructorParameters<typeof Request>, newTarget: typeof Request) {
      return Reflect.construct(target, [isLazy(input) ? giveAway(input, init) : input, init], newTarget)
    },
  })
  Object.defineProperty(globalThis, 'Request', { value: adopting, writable: true, configurable: true })
}

let adopting: typeof Request | undefined

function isLazy(input: unknown): input is LazyRequest {
  if (prototypes === undefined || typeof input !== 'object' || input === null) return false
  const prototype: unknown = Object.getPrototypeOf(input)
  return prototype === prototypes.streaming || prototype === prototypes.whole
}

/** @throws TypeError when the body has been read, and no other is given. */
function giveAway(request: LazyRequest, init: RequestInit | undefined): Request {
  const replaced = init?.body !== undefined && init.body !== null
  if (replaced || request.method === 'GET' || request.method === 'HEAD') return toStandard(request, null)
  if (request.bodyUsed)
    throw new TypeError('Cannot construct a Request with a Request object that has already been used.')
  const { body } = request
  request[used] = true
  return toStandard(request, body)
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
