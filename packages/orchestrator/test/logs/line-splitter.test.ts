import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createLineSplitter, maxLineBytes } from '../../src/logs/line-splitter.ts'

function split(chunks: readonly Uint8Array[]): string[] {
  const lines: string[] = []
  const splitter = createLineSplitter((some) => lines.push(...some.slice(0, -1).split('\n')))
  for (const chunk of chunks) splitter.push(Buffer.from(chunk))
  splitter.end()
  return lines
}

describe('line splitter', () => {
  it('gives the same lines however the bytes are cut', () => {
    const texts = fc.array(
      fc.string({ unit: 'binary' }).map((text) => text.replaceAll(/[\r\n]/g, '')),
      { minLength: 1 },
    )
    fc.assert(
      fc.property(texts, fc.array(fc.nat(200)), (lines, cuts) => {
        const bytes = Buffer.from(`${lines.join('\n')}\n`)
        const expected = bytes.toString('utf8').split('\n').slice(0, -1)
        const places = [0, ...cuts.map((cut) => Math.min(cut, bytes.length)), bytes.length].toSorted(
          (a, b) => a - b,
        )
        const chunks = places.slice(1).map((end, index) => bytes.subarray(places[index], end))
        expect(split(chunks)).toEqual(expected)
      }),
    )
  })

  it('gives the last line also without a newline', () => {
    expect(split([Buffer.from('a\nb')])).toEqual(['a', 'b'])
  })

  it('cuts a line of more than 1 MB and goes on with the next', () => {
    const [long, next] = split([
      Buffer.alloc(maxLineBytes, 'x'),
      Buffer.alloc(500, 'y'),
      Buffer.from('\nnext\n'),
    ])
    expect(long).toHaveLength(maxLineBytes + 1)
    expect(long?.endsWith('x…')).toBe(true)
    expect(next).toBe('next')
  })
})
