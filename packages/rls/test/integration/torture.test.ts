import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, until } from '@quintet/test-kit'
import { Client, type PoolConfig } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runWithRlsContext, type RlsPool, type RlsPoolOptions } from '../../src/index.ts'
import { createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

const tenants = Array.from(
  { length: 16 },
  (_, index) => `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`,
)

let fixture: TwoTenants

beforeAll(async () => {
  fixture = await createTwoTenants()
  await fixture.asOwner(
    'delete from notes',
    `insert into notes (tenant_id, title) select t::uuid, 'of ' || t || ' ' || n
     from unnest(array['${tenants.join("','")}']) t, generate_series(1, 3) n`,
  )
})
afterAll(() => fixture.drop())

interface Tally {
  right: number
  wrong: number
  failed: number
}

/** Mixed statements of all tenants at once, some of which fail; every row that comes back is looked at. */
async function torture(pool: RlsPool, total: number, concurrency: number, disturb: boolean): Promise<Tally> {
  const tally: Tally = { right: 0, wrong: 0, failed: 0 }
  let next = 0
  const own = (tenant: string, rows: readonly { tenant_id: string; seen?: string }[]): void => {
    const clean =
      rows.length === 3 && rows.every((row) => row.tenant_id === tenant && (row.seen ?? tenant) === tenant)
    if (clean) tally.right++
    else tally.wrong++
  }
  const step = async (turn: number): Promise<void> => {
    const tenant = tenants[turn % tenants.length] ?? ''
    const kind = turn % 50
    if (kind === 49) {
      // Nobody's statement must never be answered with rows.
      await pool.query('select * from notes').then(
        () => tally.wrong++,
        () => tally.failed++,
      )
      return
    }
    await runWithRlsContext({ tenantId: tenant }, async () => {
      if (kind === 10) await pool.query('select 1 / 0 from notes')
      else if (kind === 11) await pool.query('selec nonsense')
      else if (kind === 12)
        await pool.query(`insert into notes (tenant_id, title) values ('${tenants[(turn + 1) % 16]}', 'x')`)
      else if (turn % 500 === 13 && disturb)
        await pool.query({ text: 'select pg_sleep(0.02)', query_timeout: 5 } as never)
      else if (kind === 14) {
        const client = await pool.connect()
        try {
          await client.query('begin')
          own(tenant, (await client.query('select tenant_id from notes')).rows)
          if (turn % 3 === 0) await client.query('select 1 / 0')
          await client.query('commit')
        } finally {
          // Sometimes with the transaction still open: the pool must notice.
          client.release()
        }
      } else {
        const { rows } = await pool.query(
          "select tenant_id, current_setting('app.tenant_id') as seen from notes where title <> $1",
          [String(turn % 7)],
        )
        own(tenant, rows)
      }
    }).catch(() => tally.failed++)
  }
  const worker = async (): Promise<void> => {
    while (next < total) await step(next++)
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  return tally
}

/** Cancels statements and kills backends of the tenants' login until told to stop. */
async function disturbBackends(database: string, login: string, signal: AbortSignal): Promise<number> {
  const admin = new Client({ connectionString: fixture.adminUrl })
  await admin.connect()
  let victims = 0
  try {
    for (let turn = 0; !signal.aborted; turn++) {
      const kill = turn % 5 === 4 ? 'pg_terminate_backend' : 'pg_cancel_backend'
      const { rowCount } = await admin.query(
        `select ${kill}(pid) from pg_stat_activity where datname = $1 and usename = $2 and state = 'active'`,
        [database, login],
      )
      victims += rowCount ?? 0
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  } finally {
    await admin.end()
  }
  return victims
}

async function run(
  total: number,
  options: Partial<RlsPoolOptions>,
  config: PoolConfig,
): Promise<Tally & { victims: number }> {
  const pool = fixture.pool(options, { max: 2, ...config })
  const stop = new AbortController()
  const victims = disturbBackends(fixture.name, fixture.roles.login, stop.signal)
  try {
    const tally = await torture(pool, total, 32, true)
    return { ...tally, victims: (stop.abort(), await victims) }
  } finally {
    stop.abort()
    await pool.end()
  }
}

describe('100,000 statements of 16 tenants on two connections', () => {
  it(
    'leak nothing among errors, timeouts, cancellations and killed backends',
    { timeout: 180_000 },
    async () => {
      const { right, wrong, failed, victims } = await run(100_000, {}, {})
      expect(wrong).toBe(0)
      expect(victims).toBeGreaterThan(0)
      expect(right).toBeGreaterThan(80_000)
      expect(failed).toBeGreaterThan(0)
    },
  )
})

describe.each<[string, Partial<RlsPoolOptions>, PoolConfig]>([
  ['unnamed statements', { preparedStatements: false }, {}],
  ['a memory of three statements', { maxPreparedStatements: 3 }, {}],
  ['explicit transactions', { protocol: 'transaction' }, {}],
  ['pipelined connections', {}, { pipeline: true } as PoolConfig],
])('5,000 statements with %s', (_, options, config) => {
  it('leak nothing', { timeout: 60_000 }, async () => {
    const { right, wrong } = await run(5_000, options, config)
    expect(wrong).toBe(0)
    expect(right).toBeGreaterThan(3_000)
  })
})

const hasPgBouncer = spawnSync('pgbouncer', ['--version']).status === 0

describe.skipIf(!hasPgBouncer)(
  'through PgBouncer in transaction mode (skipped where pgbouncer is not on PATH)',
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
      const user = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
      spawnSync('chmod', ['-R', 'a+rX', folder])
      bouncer = spawn('pgbouncer', [join(folder, 'pgbouncer.ini')], { stdio: 'ignore', ...user })
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
      const { right, wrong } = await torture(pool, 20_000, 40, false)
      await pool.end()
      expect(wrong).toBe(0)
      expect(right).toBeGreaterThan(16_000)
    })
  },
)
