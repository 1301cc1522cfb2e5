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
  for (const [name, time, level] of [
    ['media.http', '2026-01-01T00:00:03.000Z', 'error'],
    ['media.thumbs.0', '2026-01-01T00:00:02.000Z', 'info'],
    ['media.thumbs.1', '2026-01-01T00:00:01.000Z', 'info'],
  ]) {
    const line = JSON.stringify({ level, time, msg: `of ${name}` })
    await writeFile(join(folder, 'logs', `${name}.log`), `${line}\n`)
  }
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

  it.each([
    [
      ['--since', '2026-01-01T00:00:02Z'],
      ['of media.thumbs.0', 'of media.http'],
    ],
    [['--until', '2026-01-01T00:00:02Z'], ['of media.thumbs.1']],
    [['--since', '1m'], []],
    [
      ['--grep', 'thumbs\\.\\d'],
      ['of media.thumbs.1', 'of media.thumbs.0'],
    ],
    [['--level', 'warn'], ['of media.http']],
    [['--level', 'warn', '--grep', 'thumbs'], []],
    [['-n', '1'], ['of media.http']],
  ])('shows with %j what is asked for', async (args, expected) => {
    expect(await messages('media', ...args)).toEqual(expected)
  })

  it.each([
    [['--since', 'yesterday'], "Give how long ago, such as '10m', or a date"],
    [['--grep', '('], 'Invalid regular expression'],
    [['--level', 'loud'], 'Give one of: trace, debug, info, warn, error, fatal.'],
    [['-f', '--until', '1m'], 'give --follow or --until'],
  ])('refuses %j', async (args, message) => {
    await expect(messages('media', ...args)).rejects.toThrow(message)
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
