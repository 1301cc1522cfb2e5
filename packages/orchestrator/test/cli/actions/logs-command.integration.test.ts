import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { binPath } from '../../../src/bin-path.ts'

const run = promisify(execFile)

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qt-'))
  await mkdir(join(folder, 'logs'))
  for (const [name, time] of [
    ['media.http', '2026-01-01T00:00:03.000Z'],
    ['media.thumbs.0', '2026-01-01T00:00:02.000Z'],
    ['media.thumbs.1', '2026-01-01T00:00:01.000Z'],
  ])
    await writeFile(join(folder, 'logs', `${name}.log`), `{"time":"${time}","msg":"of ${name}"}\n`)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

async function messages(...args: string[]): Promise<string[]> {
  const { stdout } = await run(process.execPath, [binPath, 'logs', ...args, '--json', '--data', folder])
  const lines = stdout.split('\n').filter(Boolean)
  return lines.map((line) => (JSON.parse(line) as { msg: string }).msg)
}

describe('quintet logs', () => {
  it.each([
    ['media', ['of media.thumbs.1', 'of media.thumbs.0', 'of media.http']],
    ['media/thumbs', ['of media.thumbs.1', 'of media.thumbs.0']],
    ['media/thumbs.1', ['of media.thumbs.1']],
  ])('shows the lines of %s in order of time', async (name, expected) => {
    expect(await messages(name)).toEqual(expected)
  })

  it('shows none with -n 0', async () => {
    expect(await messages('media', '-n', '0')).toEqual([])
  })

  it('refuses a name that nothing has', async () => {
    await expect(messages('media/thumb')).rejects.toThrow(
      'There is no app or process "media/thumb". There are: media/http, media/thumbs.0, media/thumbs.1.',
    )
  })
})
