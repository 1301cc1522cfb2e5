import fs, { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { openSecrets } from '../../src/state/secrets.ts'
import { replaceFile } from '../../src/state/replace-file.ts'

vi.mock('node:fs', { spy: true })

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'q-'))
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

it('replaceFile leaves no half-written file behind', () => {
  const file = join(folder, 'a.json')
  replaceFile(file, '1')
  replaceFile(file, '2')
  expect(readFileSync(file, 'utf8')).toBe('2')
  expect(existsSync(`${file}.new`)).toBe(false)
})

it('has the content on the disk before the name, and then the folder', () => {
  const open = vi.mocked(fs.openSync)
  const sync = vi.mocked(fs.fsyncSync)
  const rename = vi.mocked(fs.renameSync)
  for (const spy of [open, sync, rename]) spy.mockClear()
  replaceFile(join(folder, 'a.json'), '1')
  expect(open.mock.calls.map(([path]) => path)).toEqual([join(folder, 'a.json.new'), folder])
  expect(sync.mock.calls.map(([fd]) => fd)).toEqual(open.mock.results.map(({ value }) => value as number))
  const [written = 0, named = 0] = sync.mock.invocationCallOrder
  expect(rename.mock.invocationCallOrder[0]).toBeGreaterThan(written)
  expect(rename.mock.invocationCallOrder[0]).toBeLessThan(named)
})

it('names the file that cannot be written, with the code of the package', () => {
  const file = join(folder, 'secrets.json')
  // A folder under the name of the fresh file: it cannot be written, whoever asks.
  mkdirSync(`${file}.new`)
  expect(() => openSecrets(file).get('x')).toThrow(
    expect.objectContaining({
      code: 'ERR_ORCHESTRATOR_STATE_DIRECTORY',
      message: expect.stringContaining(`${file} cannot be written: EISDIR`) as string,
    }) as Error,
  )
})
