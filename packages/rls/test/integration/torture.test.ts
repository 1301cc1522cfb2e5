import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { findServer, freePort, until } from '@quintet/test-kit'
import { Client, type PoolConfig } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { RlsPoolOptions } from '../../src/index.ts'
import { fillForTorture, torture, tortureTwoConnections } from '../fixtures/torture.ts'
import { createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants

beforeAll(async () => {
  fixture = await createTwoTenants()
  await fillForTorture(fixture)
})
afterAll(() => fixture.drop())

/** `QUINTET_TORTURE=100000` is the long form. */
const statements = Number(process.env['QUINTET_TORTURE'] ?? 20_000)

describe(`${statements} statements of 16 tenants on two connections`, () => {
  it(
    'leak nothing among errors, timeouts, cancellations and killed backends',
    { timeout: 180_000 },
    async () => {
      const { right, wrong, failed, victims } = await tortureTwoConnections(fixture, statements, {}, {})
      expect(wrong).toBe(0)
      expect(victims).toBeGreaterThan(0)
      expect(right).toBeGreaterThan(statements * 0.8)
      expect(failed).toBeGreaterThan(0)
    },
  )
})

describe.each<[string, Partial<RlsPoolOptions>, PoolConfig]>([
  ['unnamed statements', { preparedStatements: false }, {}],
  ['a memory of three statements', { maxPreparedStatements: 3 }, {}],
  ['explicit transactions', { protocol: 'transaction' }, {}],
  ['pipelined connections', {}, { pipeline: true } as PoolConfig],
])('3,000 statements with %s', (_, options, config) => {
  it('leak nothing', { timeout: 60_000 }, async () => {
    const { right, wrong } = await tortureTwoConnections(fixture, 3_000, options, config)
    expect(wrong).toBe(0)
    expect(right).toBeGreaterThan(2_000)
  })
})

// PgBouncer refuses to be root, and its program may lie where only root can read.
const pgbouncerUser = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
const pgbouncer = (await findServer('pgbouncer')) ?? ''
const hasPgBouncer = pgbouncer !== '' && spawnSync(pgbouncer, ['--version'], pgbouncerUser).status === 0

describe.skipIf(!hasPgBouncer)(
  'through PgBouncer in transaction mode (skipped where it is neither on PATH nor fetched)',
  () => {
    let folder: string
    let bouncer: ChildProcess
    let url: string

    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), 'quintet-pgbouncer-'))
      const server = new URL(fixture.url)
      const port = await freePort()
      await writeFile(
        join(folder, 'users.txt'),
        `"${server.username}" "${decodeURIComponent(server.password)}"\n`,
      )
      await writeFile(
        join(folder, 'pgbouncer.ini'),
        [
          '[databases]',
          `${fixture.name} = host=${server.hostname} port=${server.port} dbname=${fixture.name}`,
          '[pgbouncer]',
          'listen_addr = 127.0.0.1',
          `listen_port = ${port}`,
          'unix_socket_dir =',
          'auth_type = trust',
          `auth_file = ${join(folder, 'users.txt')}`,
          'pool_mode = transaction',
          'default_pool_size = 2',
          'ignore_startup_parameters = extra_float_digits',
        ].join('\n'),
      )
      spawnSync('chmod', ['-R', 'a+rX', folder])
      bouncer = spawn(pgbouncer, [join(folder, 'pgbouncer.ini')], { stdio: 'ignore', ...pgbouncerUser })
      server.port = String(port)
      url = server.href
      await until(async () => {
        const client = new Client({ connectionString: url })
        client.on('error', () => undefined)
        await client.connect()
        await client.end()
        return true
      })
    })
    afterAll(async () => {
      const ended = new Promise((resolve) => bouncer.once('exit', resolve))
      bouncer.kill('SIGKILL')
      await ended
      await rm(folder, { recursive: true, force: true })
    })

    it('20 connections on 2 of the server leak nothing', { timeout: 120_000 }, async () => {
      const pool = fixture.pool({ preparedStatements: false }, { connectionString: url, max: 20 })
      const { right, wrong } = await torture(pool, 4_000, 40, false)
      await pool.end()
      expect(wrong).toBe(0)
      expect(right).toBeGreaterThan(3_200)
    })
  },
)
