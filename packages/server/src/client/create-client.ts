import type { Procedure, Service } from '@quintet/core'
import type { BinaryClientLink, CallOptions, ClientLink } from '@quintet/core/client'
import type { Received, Sent } from './wire-types.ts'

/**
 * What a client of one procedure looks like: a promise, or for a stream an async iterable. Its types are those of the
 * wire: what JSON makes of the handler's.
 */
export type ClientProcedure<P, Bytes = never> =
  P extends Procedure<infer Input, infer Output, infer Mode>
    ? ClientFunction<
        Sent<Input, Bytes>,
        Mode extends 'stream' ? AsyncIterable<Received<Output, Bytes>> : Promise<Received<Output, Bytes>>
      >
    : never

/** What may be left out of the input may be left out of the call. */
type ClientFunction<Input, Result> = [Input] extends [void]
  ? (input?: undefined, options?: CallOptions) => Result
  : undefined extends Input
    ? (input?: Input, options?: CallOptions) => Result
    : (input: Input, options?: CallOptions) => Result

/**
 * One or several services as their callers see them: `client.objects.list({ … })`.
 *
 * `Bytes` are the values that its link carries as they are: `Uint8Array` on the link to a sibling, nothing elsewhere.
 */
export type Client<S extends Service, Bytes = never> = {
  readonly [Name in S['name']]: {
    readonly [Key in keyof Extract<S, { readonly name: Name }>['procedures']]: ClientProcedure<
      Extract<S, { readonly name: Name }>['procedures'][Key],
      Bytes
    >
  }
}

/**
 * Makes a typed client of one or more services. The type of a service is the whole contract: nothing of
 * its code is imported.
 *
 * A call starts by itself; a stream starts when it is iterated, or with the next turn of the event loop.
 *
 * @example
 * const media = createClient<typeof objects>(httpLink({ url: 'http://127.0.0.1:3002' }))
 * const page = await media.objects.list({ limit: 10 })
 */
export function createClient<S extends Service>(link: BinaryClientLink): Client<S, Uint8Array>
export function createClient<S extends Service>(link: ClientLink): Client<S>
export function createClient<S extends Service>(link: ClientLink): Client<S> {
  return namespace((service) =>
    namespace(
      (procedure) => (input?: unknown, options?: CallOptions) =>
        start(link, `${service}.${procedure}`, input, options),
    ),
  ) as Client<S>
}

/** An object whose members are made by name. It has no member that JavaScript itself asks for, such as `then`. */
function namespace(make: (name: string) => unknown): unknown {
  const made = new Map<string, unknown>()
  return new Proxy(Object.freeze(Object.create(null) as object), {
    get(_target, name) {
      if (typeof name !== 'string' || reserved.has(name)) return undefined
      let member = made.get(name)
      if (member === undefined) {
        member = make(name)
        made.set(name, member)
      }
      return member
    },
  })
}

const reserved = new Set(['then', 'toJSON', 'constructor', 'prototype', '__proto__'])

/** Only the server knows whether a procedure streams, so what a call gives can be awaited or iterated. */
function start(
  link: ClientLink,
  method: string,
  input: unknown,
  options: CallOptions | undefined,
): Promise<unknown> & AsyncIterable<unknown> {
  let events: AsyncIterable<unknown> | undefined
  const result = Promise.resolve().then(() =>
    events === undefined ? link.call(method, input, options) : undefined,
  )
  let called = false
  void Promise.resolve().then(() => (called = true))
  return Object.assign(result, {
    [Symbol.asyncIterator](): AsyncIterator<unknown> {
      if (called) return iterate(result)
      events ??= link.stream(method, input, options)
      return events[Symbol.asyncIterator]()
    },
  })
}

async function* iterate(result: Promise<unknown>): AsyncGenerator<unknown, void, undefined> {
  const events = await result
  if (typeof events !== 'object' || events === null || !(Symbol.asyncIterator in events)) {
    throw new TypeError('The procedure answers with a value; await it instead of iterating over it.')
  }
  yield* events as AsyncIterable<unknown>
}
