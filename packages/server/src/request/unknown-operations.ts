import type { Operation, Surface } from '@quintet/core/kit'

function unknown(surface: Surface, name: string): Operation {
  return Object.freeze({ surface, name, access: 'public', freshness: undefined, timeout: 0 })
}

/** What a call of a procedure that there is not counts as, over HTTP. */
export const unknownProcedure: Operation = unknown('rpc', 'unknown procedure')

/** The same over a WebSocket. */
export const unknownMessage: Operation = unknown('message', 'unknown procedure')

/** What a request to a path that is not served counts as. */
export const unknownRoute: Operation = unknown('route', 'unknown route')
