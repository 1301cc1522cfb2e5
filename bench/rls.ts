import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { readFileSync } from 'node:fs'
import { randomBytes } from 'node:crypto'
import { createRlsPool, runWithRlsContext, tenantPolicy } from '@quintet/rls'
import { policiesToSql } from '@quintet/rls/migrations'
import { provisionDatabase } from '@quintet/rls/migrations'
import { Kysely, PostgresDialect, sql } from 'kysely'
import { Client, Pool } from 'pg'
import { startPostgres } from '../packages/orchestrator/src/infrastructure.ts'
import type { Bench, Figure } from './support/bench.ts'

/** What each row means. */
export const rows: Bench['rows'] = {
  'query-cpu': { about: 'CPU of one query within a tenant, server and client', better: 'lower' },
  'query-kysely-1': { about: 'queries within a tenant, one at a time', better: 'higher' },
  'query-kysely-50': { about: 'queries within a tenant, 50 at once', better: 'higher' },
  'query-naive-50': {
    about: 'the same beside a transaction with set_config for each query',
    better: 'higher',
  },
  'round-trips-query': { about: 'round trips of one query', better: 'lower' },
  'round-trips-transaction': { about: 'round trips of a transaction of five queries', better: 'lower' },
  'query-latency-1ms': { about: 'queries over a network with 1 ms there and back', better: 'higher' },
}

interface Database {
  notes: { id: number; tenant_id: string; owner: string; title: string; size: number }
}

const rowCount = 100_000
const tenantCount = 100
const poolSize = 10
const rounds = 31
const roundMs = 100

const tenants = Array.from(
  { length: tenantCount },
  (_, index) => `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`,
)

/** One way to read a row by its key, of the tenant that the row belongs to. */
interface Variant {
  readonly read: (id: number) => Promise<unknown>
}

interface Sample {
  readonly perSecond: number
  /** CPU of this process and of PostgreSQL for one query, in microseconds. */
  readonly cpu: number
  readonly queries: number
}

const tenantOf = (id: number): string => tenants[id % tenantCount] ?? ''

/** Reads for one round, so many at a time. */
async function runRound({ read }: Variant, concurrency: number): Promise<Sample> {
  const before = postgresCpu()
  const own = process.cpuUsage()
  const begin = performance.now()
  const end = begin + roundMs
  let done = 0
  const worker = async (): Promise<void> => {
    while (performance.now() < end) {
      await read(1 + Math.floor(Math.random() * rowCount))
      done++
    }
  }
  await Promise.all(Array.from({ length: concurrency }, worker))
  const seconds = (performance.now() - begin) / 1_000
  const used = process.cpuUsage(own)
  return {
    perSecond: done / seconds,
    cpu: (used.user + used.system + postgresCpu() - before) / done,
    queries: done,
  }
}

/** Microseconds of CPU that all processes of the server under test have used. */
function postgresCpu(): number {
  let ticks = 0
  for (const pid of backends) {
    try {
      const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
      ticks += Number(fields[11]) + Number(fields[12])
    } catch {
      // The backend has ended, or the server is not on this machine.
    }
  }
  return ticks * 10_000
}

/** The server processes that answer the pools, found before each comparison. */
let backends: readonly number[] = []

interface Comparison {
  /** Queries of the one, in the middle round. */
  readonly perSecond: number
  /** Of the one to the other, in the middle round. */
  readonly rate: number
  /** Microseconds for one query of the one. */
  readonly cpu: number
  readonly cpuRatio: number
}

/** Ratios of the one to the other, round by round in turn, so that both see the same machine. */
async function compare(
  one: Variant,
  other: Variant,
  concurrency: number,
  admin: Client,
): Promise<Comparison> {
  // Code is compiled and plans are chosen before anything is counted.
  for (let round = 0; round < 12; round++) {
    await runRound(one, concurrency)
    await runRound(other, concurrency)
  }
  const { rows: found } = await admin.query<{ pid: number }>(
    'select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()',
  )
  backends = found.map(({ pid }) => pid)
  const samples: { one: Sample; other: Sample }[] = []
  for (let round = 0; round < rounds; round++) {
    const first = round % 2 === 0
    const a = await runRound(first ? one : other, concurrency)
    const b = await runRound(first ? other : one, concurrency)
    samples.push(first ? { one: a, other: b } : { one: b, other: a })
  }
  const middle = (read: (sample: { one: Sample; other: Sample }) => number): number =>
    samples.map(read).toSorted((a, b) => a - b)[Math.floor(rounds / 2)] ?? Number.NaN
  const cpu = averageCpu(samples.map((sample) => sample.one))
  return {
    perSecond: middle((sample) => sample.one.perSecond),
    rate: middle((sample) => sample.one.perSecond / sample.other.perSecond),
    cpu,
    cpuRatio: cpu / averageCpu(samples.map((sample) => sample.other)),
  }
}

/** CPU of all rounds over their queries: the clock of /proc is too coarse for one round. */
function averageCpu(samples: readonly Sample[]): number {
  const queries = samples.reduce((sum, sample) => sum + sample.queries, 0)
  return samples.reduce((sum, sample) => sum + sample.cpu * sample.queries, 0) / queries
}

/** A proxy in front of the server that counts round trips and holds messages back. */
async function startProxy(url: string, delayMs: number) {
  const upstream = new URL(url)
  const state = { roundTrips: 0 }
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const backend = connect(Number(upstream.port), upstream.hostname)
    let answered = true
    const send = (target: Socket, chunk: Buffer): void => {
      if (delayMs === 0) target.write(chunk)
      else setTimeout(() => target.write(chunk), delayMs)
    }
    for (const socket of [client, backend]) {
      socket.setNoDelay(true)
      sockets.add(socket)
      socket.on('error', () => socket.destroy())
      socket.on('close', () => {
        client.destroy()
        backend.destroy()
      })
    }
    client.on('data', (chunk) => {
      if (answered) state.roundTrips++
      answered = false
      send(backend, chunk)
    })
    backend.on('data', (chunk) => {
      answered = true
      send(client, chunk)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const through = (direct: string): string => {
    const proxied = new URL(direct)
    proxied.hostname = '127.0.0.1'
    proxied.port = String((server.address() as AddressInfo).port)
    return proxied.href
  }
  return {
    state,
    through,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** What row-level security costs: point selects by key on 100,000 rows, over ten connections. */
export default async function* measure(): AsyncIterable<Figure> {
  await using stack = new AsyncDisposableStack()
  const given = process.env['DATABASE_URL']
  const adminUrl =
    given ?? stack.adopt(await startPostgres({ durable: false }), (server) => server.stop()).url
  const name = `bench_${randomBytes(4).toString('hex')}`
  const database = await provisionDatabase({ adminUrl, name })
  const execute = async (url: string, ...statements: readonly string[]): Promise<void> => {
    const client = new Client({ connectionString: url })
    await client.connect()
    for (const statement of statements) await client.query(statement)
    await client.end()
  }
  stack.defer(() =>
    execute(
      adminUrl,
      `drop database ${name} with (force)`,
      ...Object.values(database.roles).map((role) => `drop role ${role}`),
    ),
  )
  await execute(
    database.ownerUrl,
    'create table notes (id int primary key, tenant_id uuid not null, owner text not null, title text not null, size int not null)',
    `insert into notes select n, ('00000000-0000-4000-8000-' || lpad((n % ${tenantCount})::text, 12, '0'))::uuid, 'owner ' || n, 'title ' || n, n
     from generate_series(1, ${rowCount}) n`,
    'create index on notes (tenant_id, id)',
    ...policiesToSql([tenantPolicy('notes')], database.roles),
    'analyze notes',
  )
  const adminDatabase = new URL(adminUrl)
  adminDatabase.pathname = `/${name}`
  const admin = new Client({ connectionString: adminDatabase.href })
  await admin.connect()
  stack.defer(() => admin.end())

  const open = (connectionString: string, max = poolSize): Pool => {
    const pool = new Pool({ connectionString, max })
    pool.on('error', () => undefined)
    return stack.adopt(pool, async (each) => (each.ending ? undefined : each.end()))
  }
  const kyselyOver = (pool: Pool | ReturnType<typeof createRlsPool>): Kysely<Database> =>
    new Kysely<Database>({ dialect: new PostgresDialect({ pool }) })
  const columns = ['id', 'tenant_id', 'owner', 'title', 'size'] as const

  // The system login reads without a tenant's policy: what an app without row-level security does.
  const plainVariants = (url: string): { raw: Variant; kysely: Variant } => {
    const pool = open(url)
    const db = kyselyOver(pool)
    return {
      raw: {
        read: (id) =>
          pool.query('select "id", "tenant_id", "owner", "title", "size" from "notes" where "id" = $1', [id]),
      },
      kysely: { read: (id) => db.selectFrom('notes').select(columns).where('id', '=', id).execute() },
    }
  }
  const rlsVariant = (url: string): Variant => {
    const db = kyselyOver(createRlsPool(open(url), { role: database.roles.tenant }))
    return {
      read: (id) =>
        runWithRlsContext({ tenantId: tenantOf(id) }, () =>
          db.selectFrom('notes').select(columns).where('id', '=', id).execute(),
        ),
    }
  }
  const naiveVariant = (url: string): Variant => {
    const db = kyselyOver(open(url))
    return {
      read: (id) =>
        db.transaction().execute(async (trx) => {
          await sql`select set_config('role', ${database.roles.tenant}, true)`.execute(trx)
          await sql`select set_config('app.tenant_id', ${tenantOf(id)}, true)`.execute(trx)
          await sql`select set_config('app.user_id', ${''}, true)`.execute(trx)
          return trx.selectFrom('notes').select(columns).where('id', '=', id).execute()
        }),
    }
  }
  // The policy must let the row through: a fast wrong answer is worth nothing.
  const plain = plainVariants(adminDatabase.href)
  const rls = rlsVariant(database.url)
  const answer = (await rls.read(5)) as readonly { id: number }[]
  if (answer.length !== 1 || answer[0]?.id !== 5)
    throw new Error('The query under row-level security found no row.')

  const cpu = await compare(rls, plain.raw, 50, admin)
  yield {
    name: 'query-cpu',
    value: cpu.cpu,
    unit: 'us CPU per query',
    against: 'raw pg',
    ratio: cpu.cpuRatio,
  }
  for (const concurrency of [1, 50]) {
    const { perSecond, rate } = await compare(rls, plain.kysely, concurrency, admin)
    yield {
      name: `query-kysely-${concurrency}`,
      value: perSecond,
      unit: 'queries/s',
      against: 'Kysely without RLS',
      ratio: rate,
    }
  }
  const naive = await compare(rls, naiveVariant(database.url), 50, admin)
  yield {
    name: 'query-naive-50',
    value: naive.perSecond,
    unit: 'queries/s',
    against: 'BEGIN, set_config, query, COMMIT through Kysely',
    ratio: naive.rate,
  }

  const counter = stack.use(await startProxy(adminUrl, 0))
  const counted = kyselyOver(
    createRlsPool(open(counter.through(database.url), 1), { role: database.roles.tenant }),
  )
  const inTenant = <Result>(run: () => Promise<Result>) => runWithRlsContext({ tenantId: tenantOf(1) }, run)
  const readOne = (db: Kysely<Database>) =>
    db.selectFrom('notes').select(columns).where('id', '=', 1).execute()
  await inTenant(() => readOne(counted))
  const count = async (run: () => Promise<unknown>): Promise<number> => {
    counter.state.roundTrips = 0
    await inTenant(run)
    return counter.state.roundTrips
  }
  const perQuery = await count(() => readOne(counted))
  yield {
    name: 'round-trips-query',
    value: perQuery,
    unit: 'round trips',
    against: 'one for the query alone',
    ratio: perQuery,
  }
  const queries = 5
  const perTransaction = await count(() =>
    counted.transaction().execute(async (trx) => {
      for (let turn = 0; turn < queries; turn++) await readOne(trx)
    }),
  )
  yield {
    name: 'round-trips-transaction',
    value: perTransaction,
    unit: `round trips for ${queries} queries`,
    against: `${queries} queries and COMMIT`,
    ratio: perTransaction / (queries + 1),
  }

  const slow = stack.use(await startProxy(adminUrl, 0.5))
  const far = await compare(
    rlsVariant(slow.through(database.url)),
    plainVariants(slow.through(adminDatabase.href)).kysely,
    1,
    admin,
  )
  yield {
    name: 'query-latency-1ms',
    value: far.perSecond,
    unit: 'queries/s',
    against: 'Kysely without RLS',
    ratio: far.rate,
  }
}
