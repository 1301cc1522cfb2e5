import type { IncomingMessage, ServerResponse } from 'node:http'
import { endEventStream, isEventStream } from '@quintet/core/http'
import type { LongAnswers } from '../exchange/long-answers.ts'

/**
 * Has the event stream that a plugin may answer with end when the process stops. A plugin writes to the response by itself,
 * and Node forgets the headers that are given to `writeHead`, so they are looked at when they are written.
 *
 * @returns to be called when no plugin answers.
 */
export function followPluginAnswer(
  request: IncomingMessage,
  response: ServerResponse,
  answers: LongAnswers,
): () => void {
  let released = false
  const writeHead = response.writeHead.bind(response) as (...parameters: unknown[]) => ServerResponse
  response.writeHead = (...parameters: unknown[]) => {
    const written = writeHead(...parameters)
    const type = contentTypeOf(parameters.at(-1)) ?? response.getHeader('content-type')
    if (!released && isEventStream(type)) {
      const end = (): void => endEventStream(response, request)
      answers.add(end)
      response.once('close', () => answers.delete(end))
    }
    return written
  }
  return () => {
    released = true
  }
}

/** What `writeHead` was given as the content type: in an object, a flat list, or a list of pairs. */
function contentTypeOf(headers: unknown): unknown {
  if (typeof headers !== 'object' || headers === null) return undefined
  const list: readonly unknown[] = Array.isArray(headers) ? headers.flat() : Object.entries(headers).flat()
  const index = list.findIndex(
    (name, place) => place % 2 === 0 && String(name).toLowerCase() === 'content-type',
  )
  return index === -1 ? undefined : list[index + 1]
}
