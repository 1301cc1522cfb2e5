import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemPrincipal } from '@quintet/core'
import { createLinks } from '@quintet/server/link'
import { Pool } from 'undici'
import { startRedis } from '../packages/orchestrator/src/infrastructure.ts'
import type { Bench, Figure } from './support/bench.ts'
import { median, medianRatio } from './support/statistics.ts'

/** What each row means. */
export const rows: Bench['rows'] = {
  'rpc-cpu': { about: 'CPU of one small RPC call', better: 'lower' },
  'rpc-orpc': { about: 'calls beside oRPC', better: 'higher' },
  'rpc-trpc': { about: 'calls beside tRPC', better: 'higher' },
  'rpc-layers-auth': { about: 'what authentication in tracked mode adds to a call', better: 'lower' },
  'rpc-layers-auth-strict': { about: 'what authentication that reads Redis adds to a call', better: 'lower' },
  'rpc-layers-rls': { about: 'what the scope of a tenant adds to a call', better: 'lower' },
  'rpc-layers-log': { about: 'what logging adds to a call', better: 'lower' },
  'rpc-protected': {
    about: 'CPU of a call that is authenticated in tracked mode, scoped to its tenant and logged',
    better: 'lower',
  },
  'link-cpu': { about: 'CPU of a call between two processes, both sides', better: 'lower' },
  'link-http': { about: 'calls over a link beside HTTP on loopback', better: 'higher' },
  'upload-memory': { about: 'memory of the server while 2 GiB are uploaded', better: 'lower' },
  'upload-throughput': { about: 'upload beside raw node:http', better: 'higher' },
  'import-core': { about: 'loading the built package', better: 'lower' },
}
import { startChild, type Child } from './server/child.ts'
import { sendLoad, type Load } from './server/load.ts'

/** One measurement of one peer in one round. */
interface Sample {
  /** Calls per second. */
  readonly rate: number
  /** Microseconds of the server's CPU per call. */
  readonly cpu: number
}

const body = JSON.stringify({ a: 1, b: 2 })

export default async function* measure(): AsyncIterable<Figure> {
  yield* measureCalls()
  yield* measureLayers()
  yield* measureLinks()
  yield* measureUploads()
  yield* measureImport()
}

async function* measureCalls(): AsyncIterable<Figure> {
  const samples = await inRounds(['raw', 'ours', 'orpc', 'trpc'], 20, 300)
  const cpu = (name: string): number[] => samples(name).map((sample) => sample.cpu)
  const rate = (name: string): number[] => samples(name).map((sample) => sample.rate)
  yield figure(
    'rpc-cpu',
    median(cpu('ours')),
    'us/call',
    'raw node:http',
    medianRatio(cpu('ours'), cpu('raw')),
  )
  yield figure(
    'rpc-orpc',
    median(rate('ours')),
    'calls/s',
    'oRPC 1.16',
    medianRatio(rate('ours'), rate('orpc')),
  )
  yield figure(
    'rpc-trpc',
    median(rate('ours')),
    'calls/s',
    'tRPC 11.25',
    medianRatio(rate('ours'), rate('trpc')),
  )
}

async function* measureLayers(): AsyncIterable<Figure> {
  await using redis = await startRedis()
  const layers = ['ours-auth', 'ours-auth-strict', 'ours-rls', 'ours-log']
  const samples = await inRounds(['raw', 'ours', ...layers, 'ours-protected'], 60, 100, {
    REDIS_URL: redis.url,
  })
  const bare = samples('ours').map(({ cpu }) => cpu)
  for (const layer of layers) {
    const cpu = samples(layer).map((sample) => sample.cpu)
    const added = median(cpu.map((value, round) => value - (bare[round] ?? 0)))
    yield figure(
      `rpc-layers-${layer.slice(5)}`,
      added,
      'us/call',
      'the same call without it',
      medianRatio(cpu, bare),
    )
  }
  const cpu = samples('ours-protected').map((sample) => sample.cpu)
  const raw = samples('raw').map((sample) => sample.cpu)
  yield figure('rpc-protected', median(cpu), 'us/call', 'raw node:http', medianRatio(cpu, raw))
}

const path: Readonly<Record<string, string>> = { orpc: '/rpc/math/add', trpc: '/rpc/math.add' }
const bodyOf: Readonly<Record<string, string>> = { orpc: JSON.stringify({ json: { a: 1, b: 2 } }) }

/**
 * So many calls go by before what is measured has been compiled, however slow the machine is: the compiler runs on the CPU
 * time of its process.
 */
const warmUp = 40_000

/** Measures some servers in turn, round after round, so that what disturbs the machine disturbs all of them. */
async function inRounds(
  names: readonly string[],
  rounds: number,
  ms: number,
  env: Readonly<Record<string, string>> = {},
): Promise<(name: string) => readonly Sample[]> {
  const children = await Promise.all(names.map((name) => startChild(name, '', env)))
  const samples = new Map<string, Sample[]>(names.map((name) => [name, []]))
  for (const child of children) {
    for (let calls = 0; calls < warmUp;) calls += (await send(child, ms)).calls
  }
  for (let round = 0; round < rounds; round++) {
    for (const child of children) samples.get(child.name)?.push(await sampleCalls(child, ms))
  }
  await Promise.all(children.map((child) => child.stop()))
  return (name) => samples.get(name) ?? []
}

async function sampleCalls(child: Child, ms: number): Promise<Sample> {
  const before = await child.usage()
  const { calls, seconds } = await send(child, ms)
  const after = await child.usage()
  return { rate: calls / seconds, cpu: (after.cpu - before.cpu) / calls }
}

function send({ name, url }: Child, ms: number): Promise<Load> {
  const token = url.split('#')[1]
  return sendLoad(
    url,
    path[name] ?? '/rpc/math/add',
    bodyOf[name] ?? body,
    ms,
    32,
    token === undefined ? '' : `Authorization: Bearer ${token}\r\n`,
  )
}

const inFlight = 64

async function* measureLinks(): AsyncIterable<Figure> {
  const directory = mkdtempSync(join(tmpdir(), 'qb-'))
  const linked = await startChild('link', directory)
  const overHttp = await startChild('raw', join(directory, 'http'))
  const links = createLinks({
    directory,
    secret: 'the secret of this bench alone',
    system: 'bench',
    process: 'caller',
  })
  const caller = systemPrincipal('bench')
  const link = links.connect('worker', () => ({ principal: caller }))
  const pool = new Pool('http://localhost', { socketPath: join(directory, 'http'), connections: inFlight })
  const input = { a: 1, b: 2 }

  const callLink = (): Promise<unknown> => link.call('math.add', input)
  const callHttp = async (): Promise<unknown> => {
    const answer = await pool.request({
      path: '/',
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(input),
    })
    return answer.body.json()
  }
  const cpu: number[] = []
  const rates: number[] = []
  const httpRates: number[] = []
  for (let round = -1; round < 12; round++) {
    const own = process.cpuUsage()
    const before = await linked.usage()
    const fast = await keepInFlight(callLink, round < 0 ? 200_000 : 60_000)
    const after = await linked.usage()
    const used = process.cpuUsage(own)
    const slow = await keepInFlight(callHttp, round < 0 ? 40_000 : 12_000)
    // The first round only warms up: as many calls as each needs to be compiled.
    if (round < 0) continue
    cpu.push((after.cpu - before.cpu + used.user + used.system) / fast.calls)
    rates.push(fast.calls / fast.seconds)
    httpRates.push(slow.calls / slow.seconds)
  }
  await link[Symbol.asyncDispose]()
  await pool.close()
  await Promise.all([linked.stop(), overHttp.stop()])
  rmSync(directory, { recursive: true })
  yield figure('link-cpu', median(cpu), 'us/call', 'both sides', null)
  yield figure(
    'link-http',
    median(rates),
    'calls/s',
    'undici to node:http over a unix socket',
    medianRatio(rates, httpRates),
  )
}

async function keepInFlight(
  call: () => Promise<unknown>,
  calls: number,
): Promise<{ readonly calls: number; readonly seconds: number }> {
  let left = calls
  const began = performance.now()
  await Promise.all(
    Array.from({ length: inFlight }, async () => {
      while (left-- > 0) await call()
    }),
  )
  return { calls, seconds: (performance.now() - began) / 1_000 }
}

const mebibyte = 1024 ** 2

async function* measureUploads(): AsyncIterable<Figure> {
  const ours = await startChild('ours')
  const raw = await startChild('raw-upload')
  const oursRates: number[] = []
  const rawRates: number[] = []
  for (let round = -1; round < 11; round++) {
    const rate = await upload(ours.url, 256 * mebibyte)
    const rawRate = await upload(raw.url, 256 * mebibyte)
    if (round < 0) continue
    oursRates.push(rate)
    rawRates.push(rawRate)
  }
  await Promise.all([ours.stop(), raw.stop()])
  const fresh = await startChild('ours')
  await upload(fresh.url, 2048 * mebibyte)
  const { maxRss } = await fresh.usage()
  await fresh.stop()
  yield figure('upload-memory', maxRss / mebibyte, 'MiB', '2 GiB uploaded', maxRss / (2048 * mebibyte))
  yield figure(
    'upload-throughput',
    median(oursRates),
    'MiB/s',
    'raw node:http',
    medianRatio(oursRates, rawRates),
  )
}

/** Sends so many bytes as one body; gives MiB per second. */
async function upload(url: string, size: number): Promise<number> {
  const { host, hostname, port } = new URL(url)
  const socket = connect({ port: Number(port), host: hostname })
  await once(socket, 'connect')
  const answered = once(socket, 'data')
  const piece = Buffer.alloc(256 * 1024, 120)
  const began = performance.now()
  socket.write(`POST /upload HTTP/1.1\r\nHost: ${host}\r\nContent-Length: ${String(size)}\r\n\r\n`)
  for (let sent = 0; sent < size; sent += piece.length) {
    if (!socket.write(piece)) await once(socket, 'drain')
  }
  const [answer] = (await answered) as [Buffer]
  const seconds = (performance.now() - began) / 1_000
  socket.destroy()
  if (!answer.toString('latin1').includes(`"size":${String(size)}`))
    throw new Error(`The upload was not taken: ${answer.toString('latin1')}`)
  return size / mebibyte / seconds
}

/** How long `import '@quintet/core'` takes, from the built files that are published. */
async function* measureImport(): AsyncIterable<Figure> {
  const root = join(import.meta.dirname, '..')
  const core = join(root, 'packages/core')
  const built = join(core, 'node_modules/.bench')
  execFileSync(process.execPath, [join(root, 'node_modules/tsup/dist/cli-default.js'), '--out-dir', built], {
    cwd: core,
    stdio: 'ignore',
  })
  const timeOf = (code: string): number =>
    Number(
      execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd: core, encoding: 'utf8' }),
    )
  const code = (file: string): string =>
    `const began = performance.now(); await import(${JSON.stringify(file)}); console.log(performance.now() - began)`
  const own: number[] = []
  const empty: number[] = []
  for (let round = 0; round < 12; round++) {
    own.push(timeOf(code(join(built, 'index.js'))))
    empty.push(timeOf(code('node:path')))
  }
  rmSync(built, { recursive: true })
  yield figure('import-core', median(own), 'ms', 'importing nothing', medianRatio(own, empty))
}

function figure(name: string, value: number, unit: string, against: string, ratio: number | null): Figure {
  const round = (number: number): number => Number(number.toPrecision(4))
  return { name, value: round(value), unit, against, ratio: ratio === null ? null : round(ratio) }
}
