import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { startTestServers } from '@quintet/orchestrator/infrastructure'
import sharp from 'sharp'
import { createOperations, signUpTenant, type OperationName, type User } from './fanout/journey.ts'
import { startOurs, type OurStack } from './fanout/ours.ts'
import { memoryOf } from './fanout/process-tree.ts'
import type { Bench, Figure } from './support/bench.ts'
import { median, percentile } from './support/statistics.ts'

/** What each row means. */
export const rows: Bench['rows'] = {
  'mixed-requests': {
    about: 'requests of 32 clients of 8 tenants through the gateway in all',
    better: 'higher',
  },
  'mixed-errors': { about: 'answers other than 2xx, and connections that broke; must be 0', better: 'lower' },
  'mixed-accounts-p99': {
    about: '99th percentile of ledger.accounts, against objects.list; at most 2',
    better: 'lower',
  },
  'mixed-growth': {
    about: 'the most that a process grows after the first minute; at most 10 MB',
    better: 'lower',
  },
}

const tenants = 8
const usersPerTenant = 4
/** Not shorter than two minutes, of which the first is not looked at for growth. */
const seconds = Number(process.env['MIXED_LOAD_SECONDS'] ?? 180)
const sampleEvery = 5_000

/** What a client asks, over and over: mostly lists, some transfers, now and then an image. */
const mix: readonly OperationName[] = [
  'accounts', 'list', 'accounts', 'transfer', 'list', 'counts', 'list', 'accounts', 'transfer', 'list', 'accounts',
  'statement', 'list', 'accounts', 'upload', 'render',
] // prettier-ignore

/** Memory of each process over time, in MB, by its id. */
type Samples = Map<string, number[]>

/** Load of every kind by all tenants at once, for minutes: whether anything fails, starves or grows. */
export default async function* mixedLoad(): AsyncIterable<Figure> {
  const directory = await mkdtemp(join(tmpdir(), 'quintet-bench-mixed-'))
  await using resources = new AsyncDisposableStack()
  resources.defer(() => rm(directory, { recursive: true, force: true }))
  const { postgres, redis, stop } = await startTestServers()
  resources.defer(stop)
  const stack = resources.use(await startOurs({ postgresUrl: postgres.url, redisUrl: redis.url, directory }))
  const users: User[] = []
  for (let tenant = 0; tenant < tenants; tenant++)
    users.push(...(await signUpTenant(stack.origin, usersPerTenant)))
  const image = await sharp({ create: { width: 640, height: 480, channels: 3, background: '#48a' } })
    .jpeg()
    .toBuffer()

  const times = new Map<OperationName, number[]>(mix.map((name) => [name, []]))
  const errors: string[] = []
  const end = performance.now() + seconds * 1_000
  const [samples] = await Promise.all([
    sample(stack, end),
    ...users.map(async (user, index) => {
      const operations = createOperations(user, image)
      for (let turn = index; performance.now() < end; turn++) {
        const name = mix[turn % mix.length] ?? 'list'
        const begin = performance.now()
        try {
          await operations[name]()
          times.get(name)?.push(performance.now() - begin)
        } catch (error) {
          errors.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
        }
      }
    }),
  ])
  await Promise.all(users.map(({ http }) => http.destroy()))
  for (const [error, count] of countEach(errors)) console.log(`${count} times ${error}`)
  for (const [name, each] of times)
    console.log(
      `${name.padEnd(10)} ${each.length} p50 ${median(each).toFixed(1)} ms, p99 ${percentile(each, 0.99).toFixed(1)} ms`,
    )

  const none = { against: '', ratio: null }
  yield { name: 'mixed-requests', value: [...times.values()].flat().length, unit: '', ...none }
  yield { name: 'mixed-errors', value: errors.length, unit: '', ...none }
  const [accounts, list] = (['accounts', 'list'] as const).map((name) =>
    percentile(times.get(name) ?? [], 0.99),
  )
  yield {
    name: 'mixed-accounts-p99',
    value: accounts ?? Number.NaN,
    unit: 'ms',
    against: 'objects.list',
    ratio: (accounts ?? Number.NaN) / (list ?? Number.NaN),
  }
  const growths = [...samples].map(([id, all]) => ({ id, ...growthOf(all) }))
  for (const { id, from, to } of growths)
    console.log(`${id.padEnd(24)} ${from.toFixed(1)} to ${to.toFixed(1)} MB`)
  yield {
    name: 'mixed-growth',
    value: Math.max(...growths.map(({ from, to }) => to - from)),
    unit: 'MB',
    ...none,
  }
}

async function sample(stack: OurStack, end: number): Promise<Samples> {
  const samples: Samples = new Map()
  while (performance.now() < end) {
    await delay(sampleEvery)
    for (const { id, pid } of await stack.processes())
      samples.set(id, [...(samples.get(id) ?? []), memoryOf([pid])])
  }
  return samples
}

/** From the half-minute after the first minute to the last one. A median is not moved by a collection that is due. */
function growthOf(all: readonly number[]): { readonly from: number; readonly to: number } {
  const perMinute = 60_000 / sampleEvery
  return { from: median(all.slice(perMinute, perMinute * 1.5)), to: median(all.slice(-perMinute / 2)) }
}

function countEach(all: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const each of all) {
    const kind = each.replaceAll(/[\da-f]{8}-[\da-f-]{27}/g, '…')
    counts.set(kind, (counts.get(kind) ?? 0) + 1)
  }
  return counts
}
