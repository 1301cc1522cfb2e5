import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { openSecrets } from '../../src/state/secrets.ts'
import { replaceFile } from '../../src/state/replace-file.ts'

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
