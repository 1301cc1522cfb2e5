import { describe, expect, it } from 'vitest'
import { serveContent } from '../src/serve-content.ts'

const bytes = Buffer.from('0123456789')

async function ask(headers: Record<string, string>): Promise<readonly [number, string, string | null]> {
  const response = serveContent(new Request('http://x', { headers }), {
    etag: '"v1"',
    type: 'text/plain',
    size: bytes.length,
    open: ({ start = 0, end = bytes.length - 1 } = {} as never) => ({
      stream: new Blob([bytes.subarray(start, end + 1)]).stream() as ReadableStream,
    }),
  })
  return [response.status, await response.text(), response.headers.get('content-range')]
}

describe('serveContent', () => {
  it.each([
    [{}, 200, '0123456789', null],
    [{ range: 'bytes=0-0' }, 206, '0', 'bytes 0-0/10'],
    [{ range: 'bytes=8-' }, 206, '89', 'bytes 8-9/10'],
    [{ range: 'bytes=8-99' }, 206, '89', 'bytes 8-9/10'],
    [{ range: 'bytes=-3' }, 206, '789', 'bytes 7-9/10'],
    [{ range: 'bytes=-99' }, 206, '0123456789', 'bytes 0-9/10'],
    [{ range: 'bytes=10-' }, 416, '', 'bytes */10'],
    [{ range: 'bytes=-0' }, 416, '', 'bytes */10'],
    [{ range: 'bytes=5-2' }, 200, '0123456789', null],
    [{ range: 'bytes=0-1,3-4' }, 200, '0123456789', null],
    [{ range: 'lines=0-1' }, 200, '0123456789', null],
    [{ range: 'bytes=1-2', 'if-range': '"v1"' }, 206, '12', 'bytes 1-2/10'],
    [{ range: 'bytes=1-2', 'if-range': '"v0"' }, 200, '0123456789', null],
    [{ 'if-none-match': '"v0", W/"v1"' }, 304, '', null],
    [{ 'if-none-match': '*' }, 304, '', null],
    [{ 'if-none-match': '"v0"' }, 200, '0123456789', null],
  ])('answers %j with %i', async (headers, status, text, range) => {
    expect(await ask(headers as unknown as Record<string, string>)).toEqual([status, text, range])
  })
})
