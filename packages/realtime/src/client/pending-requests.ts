import type { ClientMessage, ServerMessage } from '../wire/messages.ts'
import { closedError, RealtimeClientError } from './client-error.ts'

/** A message as it is before it has its id. */
export type Request = ClientMessage extends infer Message
  ? Message extends ClientMessage
    ? Omit<Message, 'id'>
    : never
  : never

/** The requests that wait for an answer, each under an id of its own. */
export interface PendingRequests {
  /**
   * Sends a request; resolves with its answer, and leaves late ones out. `onAnswer` is called in the turn in which the
   * answer came, before any message after it.
   */
  ask(request: Request, onAnswer?: (answer: ServerMessage) => void): Promise<ServerMessage>
  /** Takes a message that may be an answer. */
  settle(message: ServerMessage): boolean
  failAll(message: string): void
}

interface Waiting {
  readonly resolve: (answer: ServerMessage) => void
  readonly reject: (error: RealtimeClientError) => void
  readonly timer: ReturnType<typeof setTimeout>
  readonly onAnswer: ((answer: ServerMessage) => void) | undefined
}

/** @param send answers false without a connection. */
export function createPendingRequests(timeout: number, send: (text: string) => boolean): PendingRequests {
  const waiting = new Map<number, Waiting>()
  let nextId = 1

  function take(id: unknown): Waiting | undefined {
    const found = waiting.get(Number(id))
    if (found === undefined) return undefined
    waiting.delete(Number(id))
    clearTimeout(found.timer)
    return found
  }

  return {
    async ask(request, onAnswer) {
      const id = nextId++
      const text = encode({ id, ...request })
      if (!send(text)) throw closedError('There is no connection now.')
      return new Promise((resolve, reject) => {
        const timer = setTimeout(() => {
          take(id)
          const message = `No answer came within ${timeout} ms.`
          reject(new RealtimeClientError({ code: 'ERR_REALTIME_TIMEOUT', kind: 'timeout', message }))
        }, timeout)
        waiting.set(id, { resolve, reject, timer, onAnswer })
      })
    },
    settle(message) {
      if (!('id' in message) || message.id === undefined) return false
      const asked = take(message.id)
      if (message.type === 'error') asked?.reject(new RealtimeClientError(message.error))
      else {
        asked?.onAnswer?.(message)
        asked?.resolve(message)
      }
      return true
    },
    failAll(message) {
      for (const id of [...waiting.keys()]) take(id)?.reject(closedError(message))
    },
  }
}

function encode(message: object): string {
  try {
    return JSON.stringify(message)
  } catch (cause) {
    const error = new RealtimeClientError({
      code: 'ERR_REALTIME_BAD_MESSAGE',
      kind: 'invalid-input',
      message: 'The data cannot be written as JSON.',
    })
    error.cause = cause
    throw error
  }
}
