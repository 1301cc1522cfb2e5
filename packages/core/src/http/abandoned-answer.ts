/** What describes a body, and what a handler has decided about the outcome. */
const ofAnAnswer = [
  'accept-ranges',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'etag',
  'expires',
  'last-modified',
  'location',
  'set-cookie',
  'trailer',
  'transfer-encoding',
]

/**
 * Removes the headers of an answer that is not sent, since another one takes its place: with its length or encoding the
 * other could not be read. What was set for any answer, such as CORS headers, stays.
 */
export function abandonAnswer(removeHeader: (name: string) => void): void {
  for (const name of ofAnAnswer) removeHeader(name)
}

/** The headers of an answer that is not sent that stay for any other. A copy: those of a fetched answer cannot be changed. */
export function headersBesideAnswer(begun: Headers): Headers {
  const kept = new Headers(begun)
  abandonAnswer((name) => kept.delete(name))
  return kept
}
