import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdir, mkdtemp, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { until } from '@quintet/test-kit'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  createDatabaseFromTemplate,
  startPostgres,
  type PostgresServer,
} from '../../../src/infrastructure.ts'

const env = { PATH: process.env['PATH'], HOME: process.env['HOME'] }
let scratch: string

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'quintet-infrastructure-test-'))
  await chmod(scratch, 0o755)
})
afterAll(() => rm(scratch, { recursive: true, force: true }))

async function query(url: string, text: string): Promise<unknown[]> {
  const client = new Client({ connectionString: url })
  await client.connect()
  try {
    return (await client.query(text)).rows
  } finally {
    await client.end()
  }
}

function isAlive(pid: number | undefined): boolean {
  try {
    return pid !== undefined && process.kill(pid, 0)
  } catch {
    return false
  }
}

describe('startPostgres', () => {
  describe('a temporary server', () => {
    let server: PostgresServer
    beforeAll(async () => {
      server = await startPostgres({ durable: false, env })
    })
    afterAll(() => server.stop())

    it('is a PostgreSQL 18 that listens on the loopback interface alone', async () => {
      const settings = `select current_setting('server_version') v, current_setting('listen_addresses') l, current_setting('unix_socket_directories') u`
      const [row] = (await query(server.url, settings)) as [Record<string, string>]
      expect(row).toMatchObject({ l: '127.0.0.1', u: '' })
      expect(row['v']).toMatch(/^18\./)
    })

    it('takes only the right password', async () => {
      const wrong = new URL(server.url)
      wrong.password = 'wrong'
      await expect(query(wrong.href, 'select 1')).rejects.toThrow(/password authentication failed/)
      wrong.password = ''
      await expect(query(wrong.href, 'select 1')).rejects.toThrow(/password/)
    })

    it('gives up durability for speed when it is told to', async () => {
      expect(await query(server.url, 'show fsync')).toEqual([{ fsync: 'off' }])
    })

    it('sorts and compares the same on every machine', async () => {
      const [row] = (await query(
        server.url,
        `select datlocprovider p, datlocale l from pg_database where datname = 'postgres'`,
      )) as [object]
      expect(row).toEqual({ p: 'b', l: 'C.UTF-8' })
    })

    it('clones databases from a template', async () => {
      await query(server.url, 'create database recipe')
      const recipe = new URL(server.url)
      recipe.pathname = '/recipe'
      await query(recipe.href, "create table dish (name text); insert into dish values ('soup')")
      const url = await createDatabaseFromTemplate(server.url, 'recipe', 'my "copy"')
      expect(await query(url, 'select name from dish')).toEqual([{ name: 'soup' }])
    })
  })

  it('keeps its data and password in a folder of its own from run to run', async () => {
    const directory = join(scratch, 'kept')
    const first = await startPostgres({ directory, env })
    expect(await query(first.url, 'show fsync')).toEqual([{ fsync: 'on' }])
    await query(first.url, 'create table kept (n int); insert into kept values (42)')
    await first.stop()
    expect(isAlive(first.pid)).toBe(false)
    await using second = await startPostgres({ directory, env })
    expect(await query(second.url, 'select n from kept')).toEqual([{ n: 42 }])
    expect(new URL(second.url).password).toBe(new URL(first.url).password)
    expect((await stat(join(directory, 'superuser.json'))).mode & 0o077).toBe(0)
  })

  it('starts over a pid file that a killed server left, whoever has the pid now', async () => {
    const directory = join(scratch, 'killed')
    const first = await startPostgres({ directory, durable: false, env })
    process.kill(first.pid as number, 'SIGKILL')
    await first.ended
    const file = join(directory, 'data', 'postmaster.pid')
    const text = await readFile(file, 'utf8')
    await writeFile(file, text.replace(/^\d+/, String(process.pid)))
    await using second = await startPostgres({ directory, env })
    expect(await query(second.url, 'select 1 as one')).toEqual([{ one: 1 }])
  })

  it('refuses a folder without PostgreSQL data, and says so', async () => {
    const directory = join(scratch, 'strange')
    await mkdir(join(directory, 'data'), { recursive: true })
    await expect(startPostgres({ directory, env })).rejects.toMatchObject({
      code: 'ERR_INFRASTRUCTURE_DATA_DIRECTORY',
      message: expect.stringContaining(join(directory, 'data')) as string,
    })
  })

  it('refuses data of another major version', async () => {
    const directory = join(scratch, 'old')
    await mkdir(join(directory, 'data'), { recursive: true })
    await writeFile(join(directory, 'data', 'PG_VERSION'), '9\n')
    await expect(startPostgres({ directory, env })).rejects.toThrow(/made by PostgreSQL 9, and this is 18/)
  })

  it.runIf(process.getuid?.() === 0)('names the folder that its user may not enter', async () => {
    const closed = join(scratch, 'closed')
    await mkdir(closed, { mode: 0o700 })
    await expect(startPostgres({ directory: join(closed, 'data'), env })).rejects.toMatchObject({
      code: 'ERR_INFRASTRUCTURE_DATA_DIRECTORY',
      message: expect.stringContaining(`chmod o+x ${closed}`) as string,
    })
  })

  it('says who has the port that it was to take', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    await expect(startPostgres({ port, durable: false, env })).rejects.toMatchObject({
      code: 'ERR_INFRASTRUCTURE_PORT_IN_USE',
      message: expect.stringContaining(`pid ${process.pid} (`) as string,
    })
    other.close()
  })

  it('uses the server that DATABASE_URL names, and leaves it running', async () => {
    await using own = await startPostgres({ durable: false, env })
    const external = await startPostgres({ env: { ...env, DATABASE_URL: own.url } })
    expect(external).toMatchObject({ source: 'external', url: own.url, pid: undefined })
    await external.stop()
    expect(await query(own.url, 'select 1 as one')).toEqual([{ one: 1 }])
  })

  it('reports a DATABASE_URL that leads nowhere, without its password', async () => {
    const failure = startPostgres({ env: { DATABASE_URL: 'postgres://me:hidden@127.0.0.1:1/x' } })
    await expect(failure).rejects.toMatchObject({ code: 'ERR_INFRASTRUCTURE_NOT_REACHABLE' })
    await expect(failure).rejects.toThrow(/DATABASE_URL: 127\.0\.0\.1:1 .*ECONNREFUSED/)
    await expect(failure).rejects.not.toThrow(/hidden/)
  })

  it('leaves nothing behind when the process that started it is killed', async () => {
    const module = new URL('../../../src/infrastructure.ts', import.meta.url).href
    const code = `
      const { startTestServers } = await import(${JSON.stringify(module)})
      const { postgres, redis } = await startTestServers()
      console.log(JSON.stringify([postgres.pid, redis.pid]))
      setInterval(() => {}, 1000)`
    const parent = spawn(process.execPath, ['--input-type=module', '-e', code], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = (await once(createInterface(parent.stdout), 'line')) as [string]
    const pids = JSON.parse(line) as number[]
    const folders = await Promise.all(pids.map(workingFolder))
    parent.kill('SIGKILL')
    await until(async () => (await Promise.all(pids.map(hasEnded))).every(Boolean))
    expect(await until(async () => (await Promise.all(folders.map(isGone))).every(Boolean))).toBe(true)
  })

  it.runIf(process.getuid?.() === 0)('works for an ordinary user too', async () => {
    const home = join(scratch, 'home')
    await mkdir(home, { mode: 0o700 })
    await chown(home, 65534, 65534)
    const module = new URL('../../../src/infrastructure.ts', import.meta.url).href
    const code = `
      const { startPostgres, startRedis } = await import(${JSON.stringify(module)})
      await using postgres = await startPostgres({ directory: ${JSON.stringify(join(home, 'data'))} })
      await using redis = await startRedis()
      console.log(postgres.source, redis.source)`
    const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
      env: { PATH: env.PATH, HOME: home },
      uid: 65534,
      gid: 65534,
      cwd: home,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let output = ''
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output += text))
    await once(child, 'close')
    expect(output).toBe('embedded path\n')
  })
})

/** Ended, or ended and not yet waited for by its new parent. */
async function hasEnded(pid: number): Promise<boolean> {
  const state = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ') Z ')
  return state.includes(') Z ')
}

async function workingFolder(pid: number): Promise<string> {
  const cwd = await readlink(`/proc/${pid}/cwd`)
  return join(cwd, '..')
}

async function isGone(path: string): Promise<boolean> {
  return stat(path).then(
    () => false,
    () => true,
  )
}
