import { systemPrincipal } from '@quintet/core'
import { createTestHost } from '@quintet/core/testing'
import { createOutbox, createQueue, defineJob, outboxMigration, relay, worker } from '@quintet/queue'
import { Queue as BullQueue, Worker as BullWorker } from 'bullmq'
import { Logger, makeWorkerUtils, run } from 'graphile-worker'
import { Redis } from 'ioredis'
import { Pool } from 'pg'
import { z } from 'zod'
import { startPostgres, startRedis } from '../packages/orchestrator/src/infrastructure.ts'
import type { Bench, Figure } from './support/bench.ts'
import { median } from './support/statistics.ts'

/** What each row means. */
export const rows: Bench['rows'] = {
  'add-rate': { about: 'adding jobs, 50 at once', better: 'higher' },
  'add-cpu': { about: 'CPU of adding one job', better: 'lower' },
  'run-rate': { about: 'running jobs, 50 at once', better: 'higher' },
  'run-cpu': { about: 'CPU of running one job', better: 'lower' },
  'run-rate-graphile-worker': {
    about: 'running jobs that wait, 50 at once, beside graphile-worker on PostgreSQL',
    better: 'higher',
  },
  'relay-rate': { about: 'delivering events of 500 keys from the outbox', better: 'higher' },
}

const jobs = 4_000
const events = 3_000
const rounds = 3
const concurrency = 50
const payload = { objectId: '0b0e7a0e-6a3d-4f0f-9a43-0d8f0f6f6d52', width: 160, format: 'webp', quality: 75 }

interface Sample {
  readonly perSecond: number
  /** CPU time of this process for one job, in microseconds. */
  readonly cpu: number
}

async function sample(count: number, run: () => Promise<unknown>): Promise<Sample> {
  const begin = performance.now()
  const before = process.cpuUsage()
  await run()
  const { user, system } = process.cpuUsage(before)
  return { perSecond: (count * 1_000) / (performance.now() - begin), cpu: (user + system) / count }
}

/** Runs the same many times, so many at once. */
async function inLanes(count: number, lanes: number, run: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < count) await run(next++)
  }
  await Promise.all(Array.from({ length: lanes }, lane))
}

function compare(name: string, unit: string, ours: readonly number[], theirs: readonly number[]): Figure {
  const value = median(ours)
  return { name, value, unit, against: 'BullMQ', ratio: value / median(theirs) }
}

/** Adding and running jobs against plain BullMQ on the same Redis, and the relay of the outbox. */
export default async function* queue(): AsyncIterable<Figure> {
  const ranPerSecond = yield* measureJobs()
  yield* measureGraphileWorker(ranPerSecond)
  yield* measureRelay()
}

async function* measureJobs(): AsyncGenerator<Figure, number> {
  const server = await startRedis()
  const connection = new Redis(server.url, { maxRetriesPerRequest: null })
  const ours = createQueue({ connection, secret: 'a-secret-for-the-bench-of-32-characters' })
  const job = defineJob('ours', {
    payload: z.object({ objectId: z.uuid(), width: z.number(), format: z.string(), quality: z.number() }),
    access: 'system',
    retention: 0,
  })
  const theirs = new BullQueue('theirs', { connection })
  const principal = systemPrincipal('bench', 'tenant-a')
  const host = createTestHost()
  const added: { ours: Sample[]; theirs: Sample[] } = { ours: [], theirs: [] }
  const ran: { ours: Sample[]; theirs: Sample[] } = { ours: [], theirs: [] }
  const theirOptions = { attempts: 5, removeOnComplete: true }

  const runOurs = async (): Promise<void> => {
    let done = 0
    const { promise, resolve } = Promise.withResolvers<void>()
    const running = await worker(job, { queue: ours, concurrency }, () => {
      if (++done === jobs) resolve()
    }).start({ ...host, health: { ...host.health, add: () => undefined } })
    await promise
    await running.close()
  }
  const runTheirs = async (): Promise<void> => {
    let done = 0
    const { promise, resolve } = Promise.withResolvers<void>()
    const running = new BullWorker('theirs', async () => void (++done === jobs && resolve()), {
      connection,
      concurrency,
    })
    await promise
    await running.close()
  }

  for (let round = 0; round < rounds; round++) {
    added.ours.push(
      await sample(jobs, () => inLanes(jobs, concurrency, () => ours.enqueue(job, payload, { principal }))),
    )
    ran.ours.push(await sample(jobs, runOurs))
    added.theirs.push(
      await sample(jobs, () => inLanes(jobs, concurrency, () => theirs.add('theirs', payload, theirOptions))),
    )
    ran.theirs.push(await sample(jobs, runTheirs))
  }
  await host.close()
  await ours.close()
  await theirs.close()
  connection.disconnect()
  await server.stop()

  const rates = (samples: readonly Sample[]): number[] => samples.map(({ perSecond }) => perSecond)
  const costs = (samples: readonly Sample[]): number[] => samples.map(({ cpu }) => cpu)
  yield compare('add-rate', 'jobs/s', rates(added.ours), rates(added.theirs))
  yield compare('add-cpu', 'us/job', costs(added.ours), costs(added.theirs))
  yield compare('run-rate', 'jobs/s', rates(ran.ours), rates(ran.theirs))
  yield compare('run-cpu', 'us/job', costs(ran.ours), costs(ran.theirs))
  return median(rates(ran.ours))
}

/** The same number of waiting jobs, run by graphile-worker on a PostgreSQL of its own. */
async function* measureGraphileWorker(ours: number): AsyncIterable<Figure> {
  const server = await startPostgres()
  try {
    const options = { connectionString: server.url, logger: new Logger(() => () => undefined) }
    const utils = await makeWorkerUtils(options)
    await utils.migrate()
    await inLanes(jobs, 8, () => utils.addJob('theirs', payload))
    let done = 0
    const { promise, resolve } = Promise.withResolvers<void>()
    const measured = await sample(jobs, async () => {
      const runner = await run({
        ...options,
        concurrency,
        noHandleSignals: true,
        taskList: { theirs: async () => void (++done === jobs && resolve()) },
      })
      await promise
      await runner.stop()
    })
    await utils.release()
    yield {
      name: 'run-rate-graphile-worker',
      value: ours,
      unit: 'jobs/s',
      against: 'graphile-worker',
      ratio: ours / measured.perSecond,
    }
  } finally {
    await server.stop()
  }
}

async function* measureRelay(): AsyncIterable<Figure> {
  const server = await startPostgres()
  const pool = new Pool({ connectionString: server.url })
  const database = `bench_queue_${process.pid}`
  await pool.query(`create database ${database}`)
  const url = new URL(server.url)
  url.pathname = `/${database}`
  const own = new Pool({ connectionString: url.href })
  // Its clients may still be on their way out when the database is dropped.
  own.on('error', () => undefined)
  const { rows } = await own.query<{ role: string }>('select current_user as role')
  const role = rows[0]?.role ?? 'postgres'
  await own.query(outboxMigration({ tenantRole: role, systemRole: role }))
  const outbox = createOutbox()
  const principal = systemPrincipal('bench', null)
  await inLanes(events, 8, async (n) => {
    const client = await own.connect()
    await outbox.add(client, { topic: 't', key: `k${n % 500}`, payload, principal })
    client.release()
  })

  const host = createTestHost()
  let done = 0
  const { promise, resolve } = Promise.withResolvers<void>()
  const measured = await sample(events, async () => {
    const running = await relay({
      pool: own,
      deliver: async () => {
        if (++done === events) resolve()
      },
    }).start(host)
    await promise
    await running.drain('shutdown', AbortSignal.timeout(5_000))
  })
  await host.close()
  await own.end()
  await pool.query(`drop database ${database} with (force)`)
  await pool.end()
  await server.stop()
  yield {
    name: 'relay-rate',
    value: measured.perSecond,
    unit: 'events/s',
    against: 'nothing',
    ratio: null,
  }
}
