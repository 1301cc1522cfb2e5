import { serverError } from '../errors.ts'

/** One server-sent event. */
export interface ServerEvent {
  readonly event: string
  readonly data: string
  readonly id: string | undefined
}

/**
 * Reads server-sent events from a stream of bytes.
 *
 * @param limit the most characters of one event.
 * @throws QuintetError `ERR_SERVER_TOO_LARGE`.
 * @see https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
 */
export async function* readEvents(
  body: ReadableStream<Uint8Array>,
  limit: number,
): AsyncGenerator<ServerEvent, void, undefined> {
  let event = ''
  let data: string[] = []
  let id: string | undefined
  let size = 0
  for await (const line of readLines(body, limit)) {
    if (line === '') {
      if (data.length > 0) yield { event: event === '' ? 'message' : event, data: data.join('\n'), id }
      event = ''
      data = []
      id = undefined
      size = 0
      continue
    }
    size += line.length
    if (size > limit) throw tooLarge(limit)
    const colon = line.indexOf(':')
    if (colon === 0) continue
    const field = colon === -1 ? line : line.slice(0, colon)
    const text = colon === -1 ? '' : line.slice(line.charAt(colon + 1) === ' ' ? colon + 2 : colon + 1)
    if (field === 'event') event = text
    else if (field === 'data') data.push(text)
    else if (field === 'id') id = text
  }
}

/** Cuts a stream of bytes into lines, which end with LF, CR or both. What was searched once is not searched again. */
async function* readLines(
  body: ReadableStream<Uint8Array>,
  limit: number,
): AsyncGenerator<string, void, undefined> {
  const reader = body.getReader()
  const decoder = new TextDecoder()
  const lineEnd = /\r\n?|\n/g
  /** The beginning of the line that has not ended. */
  let begun: string[] = []
  let size = 0
  /** The line feed that belongs to a carriage return may come with the next piece. */
  let afterReturn = false
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (done) return
      const text = decoder.decode(value, { stream: true })
      if (text === '') continue
      let from = afterReturn && text.startsWith('\n') ? 1 : 0
      afterReturn = text.endsWith('\r')
      lineEnd.lastIndex = from
      for (let end = lineEnd.exec(text); end !== null; end = lineEnd.exec(text)) {
        begun.push(text.slice(from, end.index))
        from = lineEnd.lastIndex
        yield begun.length === 1 ? (begun[0] ?? '') : begun.join('')
        begun = []
        size = 0
      }
      if (from === text.length) continue
      begun.push(text.slice(from))
      size += text.length - from
      if (size > limit) throw tooLarge(limit)
    }
  } finally {
    await reader.cancel().catch(() => {})
  }
}

function tooLarge(limit: number): Error {
  return serverError('ERR_SERVER_TOO_LARGE', `An event is larger than ${String(limit)} characters.`, {
    details: { limit },
  })
}
