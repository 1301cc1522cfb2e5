import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort, postgresUrl, redisUrl, until } from '@quintet/test-kit'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { loadPlan, startEcosystem, type EcosystemEvent, type Plan } from '../../src/index.ts'
import { isAlive } from '../trio.ts'

// Whole ecosystems start here, also on a machine that is busy with other things.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const config = fileURLToPath(new URL('../fixtures/store/quintet.config.ts', import.meta.url))
const env = { PATH: process.env['PATH'], HOME: process.env['HOME'] }
let folder: string
let plan: Plan

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qt-'))
  plan = await loadPlan(config)
})
afterAll(() => rm(folder, { recursive: true, force: true }))

describe('an app that requires servers', () => {
  it('gets its database, migrations, Redis, secrets and siblings before it is ready', async () => {
    await using ecosystem = await startEcosystem(plan, { dataDirectory: folder, env })
    const { processes, servers } = await ecosystem.status()
    expect(processes.map(({ id, phase }) => `${id} ${phase}`)).toEqual([
      'store/migrate completed',
      'store/prices.0 ready',
      'store/prices.1 ready',
      'store/http ready',
    ])
    expect(servers.map(({ name, source }) => `${name} ${source}`)).toEqual([
      'postgres embedded',
      'redis path',
    ])
    const checked = await until(() => ecosystem.logs('store/http').find((line) => line.includes('"checked"')))
    expect(JSON.parse(checked)).toMatchObject({ login: 'corner_shop_store_login', dishes: 1, price: 4 })
  })

  it('finds its data again in the next run, and servers that were killed are started again', async () => {
    const events: EcosystemEvent[] = []
    await using ecosystem = await startEcosystem(plan, {
      dataDirectory: folder,
      env,
      onEvent: (event) => events.push(event),
    })
    expect(ecosystem.logs('store/migrate').some((line) => line.includes('The database is up to date.'))).toBe(
      true,
    )
    const before = (await ecosystem.status()).servers
    for (const { pid } of before) process.kill(pid ?? 0, 'SIGKILL')
    await until(
      () => events.filter((event) => event.type === 'server' && event.state === 'ready').length === 2,
    )
    const after = (await ecosystem.status()).servers
    expect(after.map(({ name, port, restarts }) => ({ name, port, restarts }))).toEqual(
      before.map(({ name, port }) => ({ name, port, restarts: 1 })),
    )
    await ecosystem.restart('store')
    expect(
      (await ecosystem.status()).processes.every(({ phase }) => phase === 'ready' || phase === 'completed'),
    ).toBe(true)
  })

  it('starts a killed PostgreSQL again while a backend of it is busy', async () => {
    const events: EcosystemEvent[] = []
    await using ecosystem = await startEcosystem(plan, {
      dataDirectory: folder,
      env,
      onEvent: (event) => events.push(event),
    })
    const [postgres] = (await ecosystem.status()).servers
    const { user, password } = JSON.parse(
      await readFile(join(folder, 'postgres', 'superuser.json'), 'utf8'),
    ) as { user: string; password: string }
    const client = new Client({
      connectionString: `postgres://${user}:${password}@127.0.0.1:${postgres?.port}/postgres`,
    })
    client.on('error', () => undefined)
    await client.connect()
    const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid')
    const backend = rows[0]?.pid ?? 0
    const ended = client.query('do $$ begin loop end loop; end $$').catch(() => undefined)
    await until(async () => /\) R /.test(await readFile(`/proc/${backend}/stat`, 'utf8')))
    process.kill(postgres?.pid ?? 0, 'SIGKILL')
    await until(() => events.some((event) => event.type === 'server' && event.state === 'ready'))
    await ended
    expect(isAlive(backend)).toBe(false)
    expect(ecosystem.failure).toBeNull()
  })

  it('does not start when a migration fails, and says which', async () => {
    const broken = {
      ...plan,
      processes: plan.processes.map((each) =>
        each.kind === 'task'
          ? { ...each, command: [...each.command.slice(0, -1), join(folder, 'nothing')] }
          : each,
      ),
    }
    await expect(startEcosystem(broken, { dataDirectory: folder, env })).rejects.toThrow(
      /store\/migrate failed[\s\S]*nothing/,
    )
  })

  it('uses the servers and the ports that the ecosystem file names', async () => {
    const [postgresPort, redisPort] = [await freePort(), await freePort()]
    const other = await mkdtemp(join(tmpdir(), 'qt-'))
    const started = async (change: Partial<Plan>): Promise<string[]> => {
      await using ecosystem = await startEcosystem({ ...plan, ...change }, { dataDirectory: other, env })
      return (await ecosystem.status()).servers.map(({ name, source, port }) => `${name} ${source} ${port}`)
    }
    const redis = new URL(redisUrl())
    redis.pathname = ''
    expect(
      await started({ postgres: { url: null, port: postgresPort }, redis: { url: redis.href, port: null } }),
    ).toEqual([`postgres embedded ${postgresPort}`, `redis external ${redis.port}`])
    const postgres = new URL(postgresUrl())
    expect(
      await started({ postgres: { url: postgres.href, port: null }, redis: { url: null, port: redisPort } }),
    ).toEqual([`postgres external ${postgres.port}`, `redis path ${redisPort}`])
    await rm(other, { recursive: true, force: true })
  })

  it('says what is wrong with a DATABASE_URL, and leaves nothing half-started', async () => {
    const events: EcosystemEvent[] = []
    const failure = startEcosystem(plan, {
      dataDirectory: folder,
      env: { ...env, DATABASE_URL: 'postgres://me:hidden@127.0.0.1:1/x' },
      onEvent: (event) => events.push(event),
    })
    await expect(failure).rejects.toMatchObject({ code: 'ERR_INFRASTRUCTURE_NOT_REACHABLE' })
    expect(events.filter((event) => event.type === 'process')).toEqual([])
  })
})
