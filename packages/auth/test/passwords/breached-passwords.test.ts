import { hash, randomUUID } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openBreachedPasswords } from '../../src/passwords.ts'

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'quintet-breached-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const sha1 = (text: string): string => hash('sha1', text, 'hex').toUpperCase()

async function listOf(lines: readonly string[], lineBreak = '\n', end = lineBreak): Promise<string> {
  const path = join(folder, randomUUID())
  await writeFile(path, lines.join(lineBreak) + end)
  return path
}

describe('openBreachedPasswords', () => {
  it.each([
    ['with counts', '\r\n', (each: string, index: number) => `${each}:${index * 7_919}`],
    ['bare', '\n', (each: string) => each],
    ['in lower case, without a last line break', '\n', (each: string) => each.toLowerCase()],
  ])('finds each password of a list %s, and no other', async (what, lineBreak, toLine) => {
    for (const count of [1, 2, 3, 500]) {
      const passwords = Array.from({ length: count }, (_, index) => `password number ${index}`)
      const lines = passwords.map(sha1).toSorted().map(toLine)
      const path = await listOf(lines, lineBreak, what.includes('without') ? '' : lineBreak)
      await using breached = await openBreachedPasswords(path)
      expect(await Promise.all(passwords.map((each) => breached.has(each)))).not.toContain(false)
      const others = Array.from({ length: 200 }, (_, index) => `another ${index}`)
      expect(await Promise.all(others.map((each) => breached.has(each)))).not.toContain(true)
    }
  })

  it('knows a password however its characters were composed', async () => {
    await using breached = await openBreachedPasswords(await listOf([sha1('caf\u00E9 au lait')]))
    expect(await breached.has('cafe\u0301 au lait')).toBe(true)
  })

  it('refuses what is no such list', async () => {
    await expect(openBreachedPasswords(join(folder, 'none'))).rejects.toThrow('ENOENT')
    await expect(openBreachedPasswords(await listOf([], '', ''))).rejects.toThrow('is empty')
    await expect(openBreachedPasswords(await listOf(['password']))).rejects.toThrow('no SHA-1')
    await expect(openBreachedPasswords(await listOf(['F'.repeat(40), '0'.repeat(40)]))).rejects.toThrow(
      'order',
    )
    const broken = await listOf(['0'.repeat(40), 'x'.repeat(400), 'F'.repeat(40)])
    await expect(openBreachedPasswords(broken)).rejects.toThrow('no SHA-1')
  })

  it('refuses a list in the order of prevalence, and finds nothing amiss in silence', async () => {
    const lines = Array.from({ length: 2_000 }, (_, index) => sha1(`password ${index}`))
    const first = lines.findIndex((line) => line < (lines.at(-1) ?? ''))
    const byCount = [lines[first] ?? '', ...lines.toSpliced(first, 1)]
    await expect(openBreachedPasswords(await listOf(byCount))).rejects.toThrow('not in the order')
    // Of which the opening has seen nothing.
    const sorted = lines.toSorted()
    const swapped = sorted.toSpliced(990, 12, ...sorted.slice(990, 1_002).toReversed())
    await using breached = await openBreachedPasswords(await listOf(swapped))
    await expect(Promise.all(lines.map((_, index) => breached.has(`password ${index}`)))).rejects.toThrow(
      'not in the order',
    )
  })

  it('closes its file, once or twice', async () => {
    const breached = await openBreachedPasswords(await listOf([sha1('x')]))
    await breached.close()
    await breached.close()
    await expect(breached.has('x')).rejects.toThrow()
  })
})
