import type { OpenFile } from './object-files.ts'

export interface Content {
  /** Changes with every change of the bytes; with quotes. */
  readonly etag: string
  readonly type: string
  /** Bytes. */
  readonly size: number
  readonly headers?: Readonly<Record<string, string>>
  /** Opens the bytes from `start` to `end`, both included. */
  open(range?: { readonly start: number; readonly end: number }): OpenFile
}

/**
 * Answers with content that its client may have already, in whole or in part: conditional requests and one range.
 *
 * @see RFC 9110 sections 13 and 14
 */
export function serveContent(request: Request, content: Content): Response {
  const { etag, type, size } = content
  const headers: Record<string, string> = {
    'cache-control': 'private, max-age=0, must-revalidate',
    'accept-ranges': 'bytes',
    etag,
    ...content.headers,
  }
  if (names(request.headers.get('if-none-match'), etag)) return new Response(null, { status: 304, headers })
  const condition = request.headers.get('if-range')
  const wanted = condition === null || condition === etag ? request.headers.get('range') : null
  const range = wanted === null ? 'all' : readRange(wanted, size)
  if (range === 'none') {
    return new Response(null, { status: 416, headers: { ...headers, 'content-range': `bytes */${size}` } })
  }
  headers['content-type'] = type
  if (range === 'all') {
    return new Response(content.open().stream, { headers: { ...headers, 'content-length': String(size) } })
  }
  const { start, end } = range
  return new Response(content.open(range).stream, {
    status: 206,
    headers: {
      ...headers,
      'content-length': String(end - start + 1),
      'content-range': `bytes ${start}-${end}/${size}`,
    },
  })
}

/** Whether a list of entity tags has this one; weak ones count for what they are (RFC 9110 section 13.1.2). */
function names(list: string | null, etag: string): boolean {
  if (list === null) return false
  return list.split(',').some((each) => each.trim() === '*' || each.trim().replace(/^W\//, '') === etag)
}

/** One range; what is malformed or asks for several is answered in whole, as the standard allows. */
function readRange(
  text: string,
  size: number,
): 'all' | 'none' | { readonly start: number; readonly end: number } {
  const [, first = '', last = ''] = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(text.trim()) ?? []
  if (first === '' && last === '') return 'all'
  if (first === '') {
    const length = Math.min(Number(last), size)
    return length === 0 ? 'none' : { start: size - length, end: size - 1 }
  }
  const start = Number(first)
  const end = last === '' ? size - 1 : Math.min(Number(last), size - 1)
  if (last !== '' && Number(last) < start) return 'all'
  return start >= size ? 'none' : { start, end }
}
