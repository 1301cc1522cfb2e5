import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { Agent, get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '@quintet/test-kit'
import { answers, until, type Fleet } from './orchestrator/fleet.ts'
import { createPm2Fleet } from './orchestrator/pm2-fleet.ts'
import { createQuintetFleet } from './orchestrator/quintet-fleet.ts'
import type { Bench, Figure } from './support/bench.ts'
import { median } from './support/statistics.ts'

/** What each row means. */
export const rows: Bench['rows'] = {
  'five-up': { about: 'from the command to the answers of five trivial apps', better: 'lower' },
  'five-up-over-plain': {
    about: 'the same, less the time in which five plain node processes answer',
    better: 'lower',
  },
  'crash-to-answer': {
    about: 'from SIGKILL of an app to the first answer of its successor',
    better: 'lower',
  },
  'crash-to-answer-boot': { about: 'the same, beside the start of a plain node process', better: 'lower' },
  'daemon-rss': { about: 'resident memory of the supervisor of five apps', better: 'lower' },
  'daemon-private': { about: 'what of it is shared with no other process', better: 'lower' },
  'idle-cpu': { about: 'CPU of the supervisor of five idle apps, over half a minute', better: 'lower' },
  'idle-cpu-50': { about: 'CPU of the supervisor of fifty idle apps, over half a minute', better: 'lower' },
  'status-50': { about: 'the status command with fifty apps', better: 'lower' },
  flood: { about: 'an app writes 300 MB to its output', better: 'lower' },
  'flood-pipe': { about: 'the same, beside a pipe through cat into a file', better: 'lower' },
  'reload-failures': {
    about: 'requests that fail under 64 clients while an app is reloaded 20 times',
    better: 'lower',
  },
  'reload-failures-pm2': { about: 'the same under PM2, in cluster mode', better: 'lower' },
}

const runs = 5
const idleSeconds = 30

/** Quintet beside PM2 and plain node: how fast apps are up, back, reloaded, and what their supervisor costs. */
export default async function* measure(): AsyncGenerator<Figure> {
  yield* measureFive()
  yield* measureFifty()
  yield* measureReloads()
}

async function* measureFive(): AsyncGenerator<Figure> {
  await using fleets = await createFleets({ apps: 5 })
  const { ours, theirs } = fleets
  // In turns, so that what else the machine does meets all alike; the first of each is a cold start.
  const took = { ours: [] as number[], theirs: [] as number[], plain: [] as number[], boot: [] as number[] }
  for (let run = 0; run <= runs; run++) {
    const up = [await ours.up(), await theirs.up(), await startPlain(5), await startPlain(1)] as const
    if (run < runs) await Promise.all([ours.down(), theirs.down()])
    if (run === 0) continue
    took.ours.push(up[0])
    took.theirs.push(up[1])
    took.plain.push(up[2])
    took.boot.push(up[3])
  }
  const up = median(took.ours)
  yield compare('five-up', 'ms', up, median(took.theirs))
  yield { name: 'five-up-over-plain', value: up - median(took.plain), unit: 'ms', against: '', ratio: null }

  const away = { ours: [] as number[], theirs: [] as number[] }
  for (let run = 0; run < runs; run++) {
    away.ours.push(await crash(ours, run))
    away.theirs.push(await crash(theirs, run))
  }
  const back = median(away.ours)
  const boot = median(took.boot)
  yield compare('crash-to-answer', 'ms', back, median(away.theirs))
  yield { name: 'crash-to-answer-boot', value: back, unit: 'ms', against: 'plain node', ratio: back / boot }

  const [our, their] = [await memoryOf(ours), await memoryOf(theirs)]
  yield compare('daemon-rss', 'MB', our.resident, their.resident)
  yield compare('daemon-private', 'MB', our.private, their.private)
  yield await idle('idle-cpu', ours, theirs)

  const flooded = await flood(ours)
  yield compare('flood', 'ms', flooded, await flood(theirs))
  yield {
    name: 'flood-pipe',
    value: flooded,
    unit: 'ms',
    against: 'a plain pipe',
    ratio: flooded / (await floodPipe()),
  }
}

async function* measureFifty(): AsyncGenerator<Figure> {
  await using fleets = await createFleets({ apps: 50 })
  const { ours, theirs } = fleets
  await ours.up()
  await theirs.up()
  yield await idle('idle-cpu-50', ours, theirs)
  const took = { ours: [] as number[], theirs: [] as number[] }
  for (let run = 0; run < runs; run++) {
    took.ours.push(await timeOf(() => ours.status()))
    took.theirs.push(await timeOf(() => theirs.status()))
  }
  yield compare('status-50', 'ms', median(took.ours), median(took.theirs))
}

async function* measureReloads(): AsyncGenerator<Figure> {
  await using fleets = await createFleets({ apps: 1, reloadable: true })
  const { ours, theirs } = fleets
  await ours.up()
  yield { name: 'reload-failures', value: await reloadUnderClients(ours), unit: '', against: '', ratio: null }
  await ours.down()
  await theirs.up()
  yield {
    name: 'reload-failures-pm2',
    value: await reloadUnderClients(theirs),
    unit: '',
    against: '',
    ratio: null,
  }
}

async function createFleets(
  options: Parameters<typeof createQuintetFleet>[0],
): Promise<{ ours: Fleet; theirs: Fleet } & AsyncDisposable> {
  const [ours, theirs] = await Promise.all([createQuintetFleet(options), createPm2Fleet(options)])
  return {
    ours,
    theirs,
    async [Symbol.asyncDispose]() {
      await ours.dispose()
      await theirs.dispose()
    },
  }
}

function compare(name: string, unit: string, ours: number, theirs: number): Figure {
  return { name, value: ours, unit, against: 'PM2', ratio: ours / theirs }
}

async function timeOf(work: () => Promise<void>): Promise<number> {
  const started = performance.now()
  await work()
  return performance.now() - started
}

/** From the start of plain processes until all listen. */
async function startPlain(count: number): Promise<number> {
  const started = performance.now()
  const children = Array.from({ length: count }, () =>
    spawn(process.execPath, [plain], { stdio: ['ignore', 'pipe', 'inherit'] }),
  )
  await Promise.all(children.map((child) => once(child.stdout, 'data')))
  const elapsed = performance.now() - started
  await Promise.all(children.map(end))
  return elapsed
}

const plain = join(import.meta.dirname, 'orchestrator/plain.mjs')

async function end(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

/** Each run takes another app: one that crashes again and again is waited with. */
async function crash(fleet: Fleet, run: number): Promise<number> {
  const { pid = 0, url = '' } = (await fleet.apps())[run] ?? {}
  const killed = performance.now()
  process.kill(pid, 'SIGKILL')
  await until(async () => !(await answers(url)) || performance.now() - killed > 50)
  await until(() => answers(url))
  return performance.now() - killed
}

/** In megabytes. */
async function memoryOf(fleet: Fleet): Promise<{ resident: number; private: number }> {
  const memory = await readFile(`/proc/${await fleet.daemon()}/smaps_rollup`, 'utf8')
  const read = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(memory)?.[1] ?? 0) / 1024
  return { resident: read('Rss'), private: read('Private_Clean') + read('Private_Dirty') }
}

async function idle(name: string, ours: Fleet, theirs: Fleet): Promise<Figure> {
  const pids = [await ours.daemon(), await theirs.daemon()]
  // What a start leaves to be done is done first.
  await delay(5_000)
  const before = await Promise.all(pids.map(cpuOf))
  await delay(idleSeconds * 1_000)
  const after = await Promise.all(pids.map(cpuOf))
  const [our = 0, their = 0] = after.map((at, n) => ((at - (before[n] ?? 0)) / idleSeconds) * 100)
  return compare(name, '%', our, their)
}

/** The seconds of CPU that a process has used. */
async function cpuOf(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

async function flood(fleet: Fleet): Promise<number> {
  const [app] = await fleet.apps()
  return timeOf(async () => void (await (await fetch(`${app?.url}/flood?megabytes=300`)).text()))
}

async function floodPipe(): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'qb-'))
  const port = await freePort()
  const command = '"$0" "$1" | cat > "$2"'
  const shell = spawn('sh', ['-c', command, process.execPath, plain, join(folder, 'out.log')], {
    detached: true,
    stdio: 'ignore',
    env: { ...process.env, PORT: String(port) },
  })
  const ended = once(shell, 'exit')
  try {
    const url = `http://127.0.0.1:${port}`
    await until(() => answers(url))
    return await timeOf(async () => void (await (await fetch(`${url}/flood?megabytes=300`)).text()))
  } finally {
    process.kill(-(shell.pid ?? 0), 'SIGKILL')
    await ended
    await rm(folder, { recursive: true })
  }
}

/** How many requests fail while an app is reloaded 20 times. */
async function reloadUnderClients(fleet: Fleet): Promise<number> {
  const [app] = await fleet.apps()
  const agent = new Agent({ keepAlive: true, maxSockets: 64 })
  let stopped = false
  let failures = 0
  const clients = Array.from({ length: 64 }, async () => {
    while (!stopped) if (!(await asks(app?.url ?? '', agent))) failures++
  })
  for (let turn = 0; turn < 20; turn++) await fleet.reload()
  stopped = true
  await Promise.all(clients)
  agent.destroy()
  return failures
}

function asks(url: string, agent: Agent): Promise<boolean> {
  return new Promise((resolve) => {
    get(url, { agent }, (response) => {
      response.resume()
      response.once('end', () => resolve(response.statusCode === 200))
      response.once('error', () => resolve(false))
    }).once('error', () => resolve(false))
  })
}
