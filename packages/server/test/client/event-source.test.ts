import { describe, expect, it } from 'vitest'
import { readEvents } from '../../src/client/event-source.ts'

function streamOf(pieces: readonly string[]): ReadableStream<Uint8Array> {
  const rest = [...pieces]
  return new ReadableStream({
    pull(controller) {
      const piece = rest.shift()
      if (piece === undefined) controller.close()
      else controller.enqueue(new TextEncoder().encode(piece))
    },
  })
}

const dataOf = async (pieces: readonly string[], limit = 1_000): Promise<string[]> =>
  (await Array.fromAsync(readEvents(streamOf(pieces), limit))).map(({ data }) => data)

describe('server-sent events', () => {
  const text = 'data: one\n\n: comment\ndata: two\ndata: lines\n\ndata\n\n'

  it.each(['\n', '\r', '\r\n'])('end their lines with %j, however they are cut', async (end) => {
    const whole = text.replaceAll('\n', end)
    for (const size of [1, 2, 3, 7, whole.length]) {
      const pieces = whole.match(new RegExp(`[^]{1,${String(size)}}`, 'g')) ?? []
      expect(await dataOf(pieces)).toEqual(['one', 'two\nlines', ''])
    }
  })

  it('may begin with a byte order mark', async () => {
    expect(await dataOf(['\ufeffdata: 1\n\n'])).toEqual(['1'])
  })

  it('take time in proportion to their size', async () => {
    const pieces = Array.from({ length: 4_000 }, () => 'x'.repeat(16 * 1024))
    const [data = ''] = await dataOf(['data: ', ...pieces, '\n\n'], 100_000_000)
    expect(data.length).toBe(4_000 * 16 * 1024)
  }, 15_000)

  it('that are too large are refused, in one line or in many', async () => {
    const refused = { code: 'ERR_SERVER_TOO_LARGE', details: { limit: 100 } }
    await expect(dataOf(['data: ', 'x'.repeat(60), 'x'.repeat(60)], 100)).rejects.toMatchObject(refused)
    await expect(dataOf(['data: 1234567890\n'.repeat(10)], 100)).rejects.toMatchObject(refused)
    expect(await dataOf(['data: 1234567890\n\n'.repeat(3)], 100)).toHaveLength(3)
  })
})
