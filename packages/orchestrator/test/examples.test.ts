import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'

const run = promisify(execFile)
const examples = join(import.meta.dirname, '../examples')
let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qt-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('the examples of the README', () => {
  it('start servers', async () => {
    const env = { PATH: process.env['PATH'], HOME: process.env['HOME'] }
    const { stdout } = await run(process.execPath, [join(examples, 'servers.ts')], { env })
    expect(stdout).toBe('/first_test 127.0.0.1\n')
  })

  it('run an ecosystem behind its gateway', async () => {
    const { stdout } = await run(process.execPath, [join(examples, 'hello/main.ts'), folder])
    expect(stdout).toBe('hello, world\n')
  })

  it('are what the README shows', async () => {
    const readme = await readFile(join(import.meta.dirname, '../README.md'), 'utf8')
    for (const file of [
      'servers.ts',
      'hello/quintet.config.ts',
      'hello/main.ts',
      'commands/quintet.config.ts',
      'commands/shop.js',
    ]) {
      expect(readme).toContain((await readFile(join(examples, file), 'utf8')).trim())
    }
  })
})
