import { execFile } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { hostname, tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { until } from '@quintet/test-kit'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { binPath } from '../../../src/bin-path.ts'
import { loadPlan, startEcosystem, type RunningEcosystem } from '../../../src/index.ts'
import { databaseName } from '../../../src/plan/database-name.ts'
import { trioConfig } from '../../trio.ts'

// Whole ecosystems start here, also on a machine that is busy with other things.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const config = fileURLToPath(new URL('../../fixtures/store/quintet.config.ts', import.meta.url))
const env = {
  PATH: process.env['PATH'],
  HOME: process.env['HOME'],
  NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
  NO_COLOR: '1',
}
const services = ['store/http', 'store/prices.0', 'store/prices.1']
let folder: string
let ecosystem: RunningEcosystem

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qt-'))
  ecosystem = await startEcosystem(await loadPlan(config), { dataDirectory: folder, env })
})
afterAll(async () => {
  await ecosystem[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

interface Answer {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function settings(
  args: readonly string[],
  more: { config?: string; data?: string; env?: object } = {},
): Promise<Answer> {
  const all = [binPath, 'settings', ...args, '--config', more.config ?? config, '--data', more.data ?? folder]
  return new Promise((resolve) => {
    execFile(process.execPath, all, { env: { ...env, ...more.env } }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr }),
    )
  })
}

async function json(...args: string[]): Promise<unknown> {
  const answer = await settings([...args, '--json'])
  expect(answer).toMatchObject({ code: 0, stderr: '' })
  return JSON.parse(answer.stdout)
}

/** The moments at which the processes of the store say that they follow a value. */
function followedAt(markup: number): number[] {
  return services.flatMap((id) =>
    ecosystem.logs(id).flatMap((text) => {
      if (!text.includes('"follows"')) return []
      const line = JSON.parse(text) as { readonly markup: number; readonly time: string }
      return line.markup === markup ? [Date.parse(line.time)] : []
    }),
  )
}

describe('quintet settings', () => {
  it('lists the defaults of every app that has settings', async () => {
    expect(await json('list')).toEqual([
      {
        app: 'store',
        key: 'markup',
        value: 1,
        isDefault: true,
        version: 0,
        actor: null,
        reason: null,
        changedAt: null,
      },
      expect.objectContaining({ key: 'motto', value: null, isDefault: true }),
    ])
    expect(await settings(['get', 'store', 'markup'])).toEqual({ code: 0, stdout: '1\n', stderr: '' })
  })

  it('changes a setting, and every running process of the app follows within a second', async () => {
    expect(await json('set', 'store', 'markup', '1.5', '--reason', 'spring')).toEqual({
      app: 'store',
      key: 'markup',
      version: 1,
    })
    await until(() => followedAt(1.5).length === services.length)
    const [change] = (await json('history', 'store', 'markup')) as [{ changedAt: string }]
    expect(change).toMatchObject({
      version: 1,
      value: 1.5,
      isDefault: false,
      actor: `${userInfo().username}@${hostname()}`,
      reason: 'spring',
    })
    expect(Math.max(...followedAt(1.5)) - Date.parse(change.changedAt)).toBeLessThan(1_000)
  })

  it('goes back to what was at a version, and to the default, with whoever did it in the history', async () => {
    await json('set', 'store', 'markup', '2', '--actor', 'ada')
    expect(await json('rollback', 'store', 'markup', '1', '--actor', 'bob')).toMatchObject({
      version: 3,
      value: 1.5,
    })
    const answer = await settings(['rollback', 'store', 'markup', '0'], { env: { SUDO_USER: 'carol' } })
    expect(answer).toMatchObject({ code: 0, stdout: 'markup is 1 (version 4)\n' })
    await until(() => followedAt(1).length === services.length)
    const history = await settings(['history', 'store', 'markup', '-n', '3'])
    expect(history.stdout).toMatch(/^VERSION +VALUE +BY +AT +REASON\n4 +\(default\) +carol@\S+ +2\S+Z +-\n/)
    expect(history.stdout).toMatch(/\n3 +1\.5 +bob +.*\n2 +2 +ada /)
    expect((await settings(['list', 'store'])).stdout).toMatch(/store +markup +1 \(default\) +4 +carol@/)
  })

  it('refuses a bad value with the message of the schema, and changes nothing', async () => {
    const before = await json('list')
    const refused = async (args: readonly string[], message: string): Promise<void> => {
      const answer = await settings(args)
      expect(answer).toMatchObject({ code: 1, stdout: '' })
      expect(answer.stderr).toContain(message)
    }
    await refused(['set', 'store', 'markup', '-1'], 'markup: the markup must not be negative')
    await refused(['set', 'store', 'markup', '"much"'], 'markup: Invalid input: expected number')
    await refused(
      ['set', 'store', 'motto', 'Hello'],
      `Hello is not JSON. A text needs quotes of its own: '"Hello"'.`,
    )
    await refused(['set', 'store', 'markpu', '1'], 'unknown key "markpu". Did you mean "markup"?')
    await refused(['set', 'store', 'markup', '9', '--expected-version', '2'], 'is at version 4, not at 2')
    await refused(['rollback', 'store', 'markup', 'first'], 'Give a whole number.')
    await refused(['list', 'shop'], 'There is no such app "shop" here. Apps: store.')
    expect(await json('list')).toEqual(before)
  })

  it('mends a stored value that does not fit the schema any more', async () => {
    const superuser = new URL(await administrator())
    superuser.pathname = `/${databaseName(await loadPlan(config), 'store')}`
    const client = new Client({ connectionString: superuser.href })
    await client.connect()
    await json('set', 'store', 'markup', '3')
    await client.query(`update quintet_settings set value = '"x"' where key = 'markup'`)
    await client.end()
    expect(await settings(['list'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('markup: Invalid input') as string,
    })
    await json('set', 'store', 'markup', '4')
    expect(await json('get', 'store', 'markup')).toBe(4)
  })

  it('says what to do when the migrations have not run', async () => {
    const data = await mkdtemp(join(tmpdir(), 'qt-'))
    const before = await settings(['list', 'store'], { data })
    expect(before).toMatchObject({ code: 1, stdout: '' })
    expect(before.stderr).toContain('"quintet db provision store"')
    await new Promise<void>((resolve, reject) =>
      execFile(
        process.execPath,
        [binPath, 'db', 'provision', 'store', '--config', config, '--data', data],
        { env },
        (error) => (error ? reject(error) : resolve()),
      ),
    )
    const answer = await settings(['list', 'store'], { data })
    expect(answer).toMatchObject({ code: 1, stdout: '' })
    expect(answer.stderr).toContain('run "quintet migrate up store"')
    await rm(data, { recursive: true, force: true })
  })

  it('says so when an app has no settings', async () => {
    const answer = await settings(['list', 'one'], { config: trioConfig })
    expect(answer).toMatchObject({ code: 1, stdout: '' })
    expect(answer.stderr).toContain('The app "one" has no settings in PostgreSQL.')
  })
})

async function administrator(): Promise<string> {
  const { openSecrets } = await import('../../../src/state/secrets.ts')
  const { stateDirectory } = await import('../../../src/state/state-directory.ts')
  const { readFileSync } = await import('node:fs')
  const state = stateDirectory(folder)
  const { user, password } = JSON.parse(readFileSync(join(state.postgres, 'superuser.json'), 'utf8')) as {
    user: string
    password: string
  }
  return `postgres://${user}:${password}@127.0.0.1:${openSecrets(state.secretsFile).number('postgres.port')}/postgres`
}
