import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { startTestServers } from '@quintet/orchestrator/infrastructure'
import sharp from 'sharp'
import { startOurs } from './fanout/ours.ts'
import { startPeer } from './fanout/peer.ts'
import { eventsPerJourney, journey, settled, signUpTenant, type User } from './fanout/journey.ts'
import { cpuOf, memoryOf } from './fanout/process-tree.ts'
import type { Stack } from './fanout/stack.ts'
import type { Bench, Figure } from './support/bench.ts'
import { median, medianRatio, percentile } from './support/statistics.ts'

/** What each row means. */
export const rows: Bench['rows'] = {
  'journey-rate': { about: 'requests of protected journeys for each second of CPU', better: 'higher' },
  'journey-p50': { about: 'median latency of a request in a journey, 12 users', better: 'lower' },
  'journey-p99': { about: '99th percentile of latency in a journey, 12 users', better: 'lower' },
  'journey-memory': { about: 'proportional share of memory of all processes afterwards', better: 'lower' },
}

const against = 'Fastify, jose, Kysely and BullMQ behind nginx, written by hand'
const tenants = 4
const usersPerTenant = 3
const rounds = 5
const journeysPerRound = 3

interface Round {
  /** Requests for each second of CPU. */
  readonly rate: number
  readonly times: readonly number[]
}

/** A stack with its signed-up users, and how many events they have caused. */
interface Contestant {
  readonly stack: Stack
  readonly users: readonly User[]
  events: number
  readonly rounds: Round[]
}

/** The same protected journey through the five example apps behind our gateway, and through a stack written by hand. */
export default async function* fanout(): AsyncIterable<Figure> {
  const directory = await mkdtemp(join(tmpdir(), 'quintet-bench-fanout-'))
  await using resources = new AsyncDisposableStack()
  resources.defer(() => rm(directory, { recursive: true, force: true }))
  const { postgres, redis, stop } = await startTestServers()
  resources.defer(stop)
  const servers = { postgresUrl: postgres.url, redisUrl: redis.url, directory }
  const image = await sharp({ create: { width: 1280, height: 960, channels: 3, background: '#48a' } })
    .jpeg()
    .toBuffer()
  const [ours, peer] = [
    await enter(resources.use(await startOurs(servers))),
    await enter(resources.use(await startPeer(servers))),
  ]
  for (let index = 0; index <= rounds; index++) {
    for (const contestant of [ours, peer]) {
      const round = await measure(contestant, image)
      // The first round warms up.
      if (index > 0) contestant.rounds.push(round)
    }
  }
  const rates = ({ rounds: all }: Contestant): number[] => all.map(({ rate }) => rate)
  yield {
    name: 'journey-rate',
    value: median(rates(ours)),
    unit: '/s',
    against,
    ratio: medianRatio(rates(ours), rates(peer)),
  }
  for (const part of [0.5, 0.99]) {
    const latency = ({ rounds: all }: Contestant): number =>
      percentile(
        all.flatMap(({ times }) => times),
        part,
      )
    const value = latency(ours)
    yield { name: `journey-p${part * 100}`, value, unit: 'ms', against, ratio: value / latency(peer) }
  }
  const memory = memoryOf(await ours.stack.pids())
  yield {
    name: 'journey-memory',
    value: memory,
    unit: 'MB',
    against,
    ratio: memory / memoryOf(await peer.stack.pids()),
  }
  await Promise.all([...ours.users, ...peer.users].map(({ http }) => http.destroy()))
}

async function enter(stack: Stack): Promise<Contestant> {
  const users: User[] = []
  for (let tenant = 0; tenant < tenants; tenant++)
    users.push(...(await signUpTenant(stack.origin, usersPerTenant)))
  // Each user was given money.
  return { stack, users, events: usersPerTenant, rounds: [] }
}

/** All users at once, each some journeys; the events that they cause belong to the work. */
async function measure(contestant: Contestant, image: Uint8Array): Promise<Round> {
  const { stack, users } = contestant
  const pids = await stack.pids()
  const before = cpuOf(pids)
  const times = await Promise.all(
    users.map(async (user) => {
      const all: number[] = []
      for (let index = 0; index < journeysPerRound; index++) all.push(...(await journey(user, image)))
      return all
    }),
  )
  contestant.events += usersPerTenant * journeysPerRound * eventsPerJourney
  const owners = users.filter((_, index) => index % usersPerTenant === 0)
  await Promise.all(owners.map((owner) => settled(owner, contestant.events)))
  return { rate: times.flat().length / (cpuOf(pids) - before), times: times.flat() }
}
