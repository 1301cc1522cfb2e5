import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openLogWriter } from '../../src/logs/log-writer.ts'
import { lastLines, mergeByTime, withoutOverlap } from '../../src/logs/past-lines.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quintet-logs-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

describe('lastLines', () => {
  it('misses no file of a log that is rotated and compressed while it is read', async () => {
    const file = join(folder, 'web.http.log')
    const writer = await openLogWriter({ file, maxSize: 400, maxFiles: 10_000, compress: true })
    let written = 0
    let reading = true
    const writing = (async () => {
      while (reading && written < 5_000) {
        writer.write(`line ${written}\n`)
        written += 1
        await writer.drained()
      }
    })()
    for (let round = 0; round < 40; round++) {
      const least = written
      const lines = await lastLines(file, 60)
      const numbers = lines.map((line) => Number(line.slice('line '.length)))
      const [first = 0] = numbers
      expect(numbers).toEqual(numbers.map((_, index) => first + index))
      expect(first + numbers.length).toBeGreaterThanOrEqual(least)
      expect(numbers.length).toBe(Math.min(60, Math.max(numbers.length, least)))
    }
    reading = false
    await writing
    await writer.close()
  })

  it('reads a file once that stands beside what it was compressed into', async () => {
    const file = join(folder, 'web.http.log')
    const rotated = join(folder, 'web.http.20260101T000000000Z.log')
    await writeFile(rotated, 'one\n')
    await writeFile(`${rotated}.gz`, gzipSync('one\n'))
    await writeFile(file, 'two\n')
    expect(await lastLines(file, 10)).toEqual(['one', 'two'])
  })
})

describe('mergeByTime', () => {
  const entry = (id: string, time: number | string): { id: string; line: string } => ({
    id,
    line: JSON.stringify({ time }),
  })

  it('sorts by time, whether that is text or milliseconds', () => {
    const [a, b, c] = [entry('a', 1_000), entry('b', '1970-01-01T00:00:02.000Z'), entry('a', 3_000)]
    expect(mergeByTime([[a, c], [b]])).toEqual([a, b, c])
  })

  it('keeps the order of a log whose clock was set back', () => {
    const log = [entry('a', 5_000), entry('a', 1_000), entry('a', 2_000)]
    expect(mergeByTime([log, [entry('b', 3_000)]])).toEqual([entry('b', 3_000), ...log])
  })
})

describe('withoutOverlap', () => {
  it.each([
    [['a', 'b'], ['b', 'c'], ['c']],
    [['a', 'b'], ['a', 'b'], []],
    [['a', 'b'], ['c'], ['c']],
    [['a', 'tick'], ['tick', 'tick'], ['tick']],
    [[], ['c'], ['c']],
  ])('of %j followed by %j is %j', (read, followed, left) => {
    expect(withoutOverlap(read, followed)).toEqual(left)
  })
})
