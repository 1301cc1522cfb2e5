import { fork, spawnSync, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Pool } from 'undici'
import type { Bench, Figure } from './support/bench.ts'
import { median } from './support/statistics.ts'

/** What each row means. */
export const rows: Bench['rows'] = {
  'proxy-cpu-plain': { about: 'CPU of one proxied GET beside plain', better: 'lower' },
  'proxy-cpu-fastify': { about: 'CPU of one proxied GET beside fastify', better: 'lower' },
  'proxy-cpu-http-proxy-3': { about: 'CPU of one proxied GET beside http-proxy-3', better: 'lower' },
  'proxy-cpu-nginx': { about: 'CPU of one proxied GET beside nginx', better: 'lower' },
  'proxy-rate-plain': { about: 'proxied GETs by 32 clients beside plain', better: 'higher' },
  'proxy-rate-fastify': { about: 'proxied GETs by 32 clients beside fastify', better: 'higher' },
  'proxy-rate-http-proxy-3': { about: 'proxied GETs by 32 clients beside http-proxy-3', better: 'higher' },
  'proxy-rate-nginx': { about: 'proxied GETs by 32 clients beside nginx', better: 'higher' },
  'proxy-p99': {
    about: '99th percentile of latency with 32 clients, beside the best peer on Node.js',
    better: 'lower',
  },
}

const clients = 32
const rounds = 7
const callsPerRound = 4_000

/** Every proxy of the run, in turns, each in a process of its own before the same app. */
const peers = ['ours', 'plain', 'fastify', 'http-proxy-3', 'nginx'] as const
type Peer = (typeof peers)[number]

interface Proxy {
  readonly child: ChildProcess
  readonly pool: Pool
}

interface Measured {
  /** CPU microseconds of the proxy for one request. */
  readonly cpu: number
  /** Requests per second. */
  readonly rate: number
  /** Milliseconds. */
  readonly p99: number
}

async function start(file: string, ...args: string[]): Promise<{ child: ChildProcess; url: string }> {
  const child = fork(fileURLToPath(new URL(`./gateway/${file}.ts`, import.meta.url)), args)
  const [url] = (await once(child, 'message')) as [string]
  return { child, url }
}

async function startProxy(file: string, upstream: string): Promise<Proxy> {
  const { child, url } = await start(file, upstream)
  return { child, pool: new Pool(url, { connections: clients, pipelining: 1 }) }
}

async function cpuOf({ child }: Proxy): Promise<number> {
  child.send('cpu')
  const [{ user, system }] = (await once(child, 'message')) as [NodeJS.CpuUsage]
  return user + system
}

async function round(proxy: Proxy): Promise<Measured> {
  const before = await cpuOf(proxy)
  const begin = performance.now()
  const times: number[] = []
  let left = callsPerRound
  const client = async (): Promise<void> => {
    while (left-- > 0) {
      const asked = performance.now()
      const { statusCode, body } = await proxy.pool.request({ method: 'GET', path: '/api/app/items?page=1' })
      await body.dump()
      if (statusCode !== 200) throw new Error(`The proxy answered ${statusCode}.`)
      times.push(performance.now() - asked)
    }
  }
  await Promise.all(Array.from({ length: clients }, client))
  const seconds = (performance.now() - begin) / 1_000
  return {
    cpu: ((await cpuOf(proxy)) - before) / callsPerRound,
    rate: callsPerRound / seconds,
    p99: times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? Number.NaN,
  }
}

/**
 * - `proxy-cpu-<peer>`: CPU of one request, ours divided by the peer's.
 * - `proxy-rate-<peer>`: requests per second, ours divided by the peer's.
 * - `proxy-p99`: ours at 32 clients, divided by the best peer's that runs on Node.
 *
 * `plain` is a bare `http.request` proxy; nginx is left out where it is not installed.
 */
export default async function* gateway(): AsyncIterable<Figure> {
  const present = peers.filter((peer) => peer !== 'nginx' || spawnSync('nginx', ['-v']).status === 0)
  const upstream = await start('upstream')
  const proxies = new Map<Peer, Proxy>()
  try {
    for (const peer of present) proxies.set(peer, await startProxy(peer, upstream.url))
    const measured = new Map<Peer, Measured[]>(present.map((peer) => [peer, []]))
    for (let index = 0; index <= rounds; index++) {
      for (const [peer, proxy] of proxies) {
        const result = await round(proxy)
        // The first round warms up.
        if (index > 0) measured.get(peer)?.push(result)
      }
    }
    const of = (peer: Peer, what: keyof Measured): number =>
      median(measured.get(peer)?.map((each) => each[what]) ?? [])
    for (const peer of present.filter((each) => each !== 'ours')) {
      for (const [what, unit] of [
        ['cpu', 'us'],
        ['rate', '/s'],
      ] as const) {
        const value = of('ours', what)
        yield { name: `proxy-${what}-${peer}`, value, unit, against: peer, ratio: value / of(peer, what) }
      }
    }
    const [fastest = 'plain'] = present
      .filter((peer) => peer !== 'ours' && peer !== 'nginx')
      .toSorted((a, b) => of(a, 'p99') - of(b, 'p99'))
    const p99 = of('ours', 'p99')
    yield { name: 'proxy-p99', value: p99, unit: 'ms', against: fastest, ratio: p99 / of(fastest, 'p99') }
  } finally {
    await Promise.all([...proxies.values()].map(({ pool }) => pool.destroy()))
    for (const { child } of [...proxies.values(), upstream]) child.disconnect()
  }
}
