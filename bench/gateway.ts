import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { Pool } from 'undici'
import type { Figure } from './run.ts'

const lanes = 50
const rounds = 7
const callsPerRound = 4_000

interface Proxy {
  readonly child: ChildProcess
  readonly pool: Pool
}

async function start(file: string, ...args: string[]): Promise<{ child: ChildProcess; url: string }> {
  const child = fork(fileURLToPath(new URL(`./gateway/${file}.ts`, import.meta.url)), args)
  const [url] = (await once(child, 'message')) as [string]
  return { child, url }
}

async function startProxy(file: string, upstream: string): Promise<Proxy> {
  const { child, url } = await start(file, upstream)
  return { child, pool: new Pool(url, { connections: lanes, pipelining: 1 }) }
}

async function cpuOf({ child }: Proxy): Promise<number> {
  child.send('cpu')
  const [{ user, system }] = (await once(child, 'message')) as [NodeJS.CpuUsage]
  return user + system
}

/** CPU microseconds of the proxy for one request, and requests per second, under so many clients. */
async function round(proxy: Proxy): Promise<{ cpu: number; rate: number }> {
  const before = await cpuOf(proxy)
  const begin = performance.now()
  let left = callsPerRound
  const lane = async (): Promise<void> => {
    while (left-- > 0) {
      const { statusCode, body } = await proxy.pool.request({ method: 'GET', path: '/api/app/items?page=1' })
      await body.dump()
      if (statusCode !== 200) throw new Error(`The proxy answered ${statusCode}.`)
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane))
  const seconds = (performance.now() - begin) / 1_000
  return { cpu: ((await cpuOf(proxy)) - before) / callsPerRound, rate: callsPerRound / seconds }
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
}

/** The gateway against a bare `http.request` proxy, each in a process of its own, in turns. */
export default async function* gateway(): AsyncIterable<Figure> {
  const upstream = await start('upstream')
  const ours = await startProxy('ours', upstream.url)
  const plain = await startProxy('plain', upstream.url)
  try {
    const measured: Record<'ours' | 'plain', { cpu: number; rate: number }[]> = { ours: [], plain: [] }
    for (let index = 0; index <= rounds; index++) {
      const [first, second] = [await round(ours), await round(plain)]
      // The first round warms up.
      if (index === 0) continue
      measured.ours.push(first)
      measured.plain.push(second)
    }
    const of = (side: 'ours' | 'plain', what: 'cpu' | 'rate'): number =>
      median(measured[side].map((each) => each[what]))
    const against = 'http.request and pipe'
    yield {
      name: 'cpu per request',
      value: of('ours', 'cpu'),
      unit: 'us',
      against,
      ratio: of('ours', 'cpu') / of('plain', 'cpu'),
    }
    yield {
      name: 'requests',
      value: of('ours', 'rate'),
      unit: '/s',
      against,
      ratio: of('ours', 'rate') / of('plain', 'rate'),
    }
  } finally {
    await Promise.all([ours.pool.destroy(), plain.pool.destroy()])
    for (const { child } of [ours, plain, upstream]) child.disconnect()
  }
}
