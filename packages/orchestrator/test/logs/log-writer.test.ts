import { existsSync } from 'node:fs'
import { mkdtemp, open, readdir, readFile, rm, writeFile, type FileHandle } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { until } from '@quintet/test-kit'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { openLogWriter, rotatedFiles } from '../../src/logs/log-writer.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quintet-logs-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

async function writeInSteps(
  lines: readonly string[],
  settings: { maxSize: number; maxFiles: number; compress: boolean },
): Promise<string> {
  const file = join(folder, 'web.http.log')
  const writer = await openLogWriter({ file, ...settings })
  for (const line of lines) {
    writer.write(`${line}\n`)
    await writer.drained()
  }
  await writer.close()
  return file
}

describe('log writer', () => {
  it('rotates between lines and loses none', async () => {
    const lines = Array.from({ length: 10 }, (_, index) => `line ${index}`)
    const file = await writeInSteps(lines, { maxSize: 20, maxFiles: 100, compress: false })
    const files = [...(await rotatedFiles(file)), file]
    expect(files.length).toBeGreaterThan(3)
    const texts = await Promise.all(files.map((each) => readFile(each, 'utf8')))
    expect(texts.join('')).toBe(`${lines.join('\n')}\n`)
  })

  it('makes the file anew after somebody has removed it', async () => {
    const file = join(folder, 'web.http.log')
    const writer = await openLogWriter({ file, maxSize: 1_000, maxFiles: 2, compress: false })
    writer.write('before\n')
    await writer.drained()
    await rm(file)
    await until(async () => {
      writer.write('after\n')
      await writer.drained()
      return existsSync(file)
    })
    await writer.close()
    expect(await readFile(file, 'utf8')).toMatch(/^after\n/)
  })

  it('removes what a writer that was killed has left half compressed', async () => {
    const file = join(folder, 'web.http.log')
    const half = join(folder, 'web.http.20260101T000000000Z.log.gz.tmp')
    const others = join(folder, 'other.http.20260101T000000000Z.log.gz.tmp')
    await Promise.all([writeFile(half, ''), writeFile(others, '')])
    await (await openLogWriter({ file, maxSize: 1_000, maxFiles: 2, compress: true })).close()
    expect([existsSync(half), existsSync(others)]).toEqual([false, true])
  })

  it('cuts back a line that a full disk has torn, and tells how many were lost', async () => {
    const file = join(folder, 'web.http.log')
    const probe = await open(file, 'a')
    const disk = vi.spyOn(Object.getPrototypeOf(probe) as FileHandle, 'appendFile')
    await probe.close()
    const writer = await openLogWriter({ file, maxSize: 10_000, maxFiles: 2, compress: false })
    writer.write('before\n')
    await writer.drained()
    disk.mockImplementationOnce(async function fill(this: FileHandle, text) {
      await this.write(String(text).slice(0, 4))
      throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
    })
    writer.write('lost 1\n')
    await writer.drained()
    writer.write('after\n')
    await writer.close()
    disk.mockRestore()
    const lines = (await readFile(file, 'utf8')).split('\n')
    expect(lines).toEqual(['before', expect.stringContaining('1 lines were lost here'), 'after', ''])
    expect(writer.dropped).toBe(1)
  })

  it('begins a new line after one that was left without its end', async () => {
    await writeFile(join(folder, 'web.http.log'), '{"msg":"to')
    const file = await writeInSteps(['after'], { maxSize: 1_000, maxFiles: 2, compress: false })
    expect(await readFile(file, 'utf8')).toBe('{"msg":"to\nafter\n')
  })

  it('leaves nothing half compressed, and no more than maxFiles, after a burst of rotations', async () => {
    const file = join(folder, 'web.http.log')
    const writer = await openLogWriter({ file, maxSize: 100, maxFiles: 3, compress: true })
    for (let count = 0; count < 500; count++) writer.write(`line ${count} ${'x'.repeat(50)}\n`)
    await writer.close()
    const names = await readdir(folder)
    expect(names.filter((name) => name.endsWith('.tmp'))).toEqual([])
    expect(names).toHaveLength(3)
  })

  it('compresses what it has rotated', async () => {
    const file = await writeInSteps(['first', 'second'], { maxSize: 6, maxFiles: 10, compress: true })
    const [old = ''] = await rotatedFiles(file)
    expect(old).toMatch(/web\.http\.\d{8}T\d{9}Z\.log\.gz$/)
    expect(gunzipSync(await readFile(old)).toString()).toBe('first\n')
  })

  it('keeps no more than maxFiles files, the newest', async () => {
    const file = await writeInSteps(['one', 'two', 'three', 'four', 'five'], {
      maxSize: 1,
      maxFiles: 3,
      compress: false,
    })
    const kept = await Promise.all((await rotatedFiles(file)).map((each) => readFile(each, 'utf8')))
    expect(kept).toEqual(['four\n', 'five\n'])
  })

  it('goes on where an earlier run has ended', async () => {
    await writeInSteps(['before'], { maxSize: 1_000, maxFiles: 3, compress: false })
    const file = await writeInSteps(['after'], { maxSize: 1_000, maxFiles: 3, compress: false })
    expect(await readFile(file, 'utf8')).toBe('before\nafter\n')
  })

  it('tells the writer to wait when the disk does not keep up', async () => {
    const writer = await openLogWriter({
      file: join(folder, 'web.http.log'),
      maxSize: 1e9,
      maxFiles: 2,
      compress: false,
    })
    let accepted = true
    for (let count = 0; accepted && count < 1_000; count++) accepted = writer.write(`${'x'.repeat(10_000)}\n`)
    expect(accepted).toBe(false)
    await writer.drained()
    expect(writer.write('y\n')).toBe(true)
    await writer.close()
  })
})
