import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { loadPlan, startEcosystem, type EcosystemStatus, type RunningEcosystem } from '@quintet/orchestrator'
import type { Bench, Figure } from './support/bench.ts'
import { median } from './support/statistics.ts'

/** What each row means. */
export const rows: Bench['rows'] = {
  'five-apps-up': { about: 'from nothing to five trivial apps that answer', better: 'lower' },
  'crash-to-answer': {
    about: 'from the kill of a process to the first answer of its successor',
    better: 'lower',
  },
  'supervisor-rss': { about: 'resident memory of the supervisor of five apps', better: 'lower' },
  'supervisor-pss': { about: 'its proportional share of memory', better: 'lower' },
}

const config = join(import.meta.dirname, 'orchestrator/quintet.config.ts')
const apps = ['a', 'b', 'c', 'd', 'e']
const runs = apps.length

/** Five trivial apps: how long until all answer, how long a crashed one is away, and what the supervisor weighs. */
export default async function* measure(): AsyncGenerator<Figure> {
  const folder = await mkdtemp(join(tmpdir(), 'qb-'))
  try {
    const plan = await loadPlan(config)
    const plain = await medianOf(startPlain)
    const up = await medianOf(async () => {
      const started = performance.now()
      const ecosystem = await startEcosystem(plan, { dataDirectory: folder })
      const elapsed = performance.now() - started
      await ecosystem.stop()
      return elapsed
    })
    yield {
      name: 'five-apps-up',
      value: up,
      unit: 'ms',
      against: 'five plain node processes',
      ratio: up / plain,
    }

    await using ecosystem = await startEcosystem(plan, { dataDirectory: folder })
    const boot = await medianOf(startOne)
    const away = await medianOf((run) => crash(ecosystem, `${apps[run]}/http`))
    yield {
      name: 'crash-to-answer',
      value: away,
      unit: 'ms',
      against: 'the boot of the app alone',
      ratio: away / boot,
    }
    await ecosystem.stop()

    const { rss, pss } = await weighSupervisor(folder)
    yield { name: 'supervisor-rss', value: rss, unit: 'MB', against: '', ratio: null }
    yield { name: 'supervisor-pss', value: pss, unit: 'MB', against: '', ratio: null }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}

async function medianOf(sample: (run: number) => Promise<number>): Promise<number> {
  const samples: number[] = []
  for (let run = 0; run < runs; run++) samples.push(await sample(run))
  return median(samples)
}

async function startPlain(): Promise<number> {
  const started = performance.now()
  const children = Array.from({ length: 5 }, () =>
    spawn(process.execPath, [join(import.meta.dirname, 'orchestrator/plain.mjs')], {
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  )
  await Promise.all(children.map((child) => once(child.stdout, 'data')))
  const elapsed = performance.now() - started
  await Promise.all(children.map(end))
  return elapsed
}

/** One app under `quintet run`, without a supervisor, until it has started. */
async function startOne(): Promise<number> {
  const started = performance.now()
  const args = [bin(), 'run', join(import.meta.dirname, 'orchestrator/a.ts'), '--port', 'http=0']
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  await once(child.stdout, 'data')
  const elapsed = performance.now() - started
  await end(child)
  return elapsed
}

async function end(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}

/** From the kill of a process that has not crashed before to the first answer of its successor. */
async function crash(ecosystem: RunningEcosystem, id: string): Promise<number> {
  const { processes } = await ecosystem.status()
  const victim = processes.find((each) => each.id === id)
  const url = victim?.urls['http'] ?? ''
  const killed = performance.now()
  process.kill(victim?.pid ?? 0, 'SIGKILL')
  await until(async () => !(await answers(url)))
  await until(() => answers(url))
  return performance.now() - killed
}

async function answers(url: string): Promise<boolean> {
  return fetch(url, { headers: { connection: 'close' } }).then(
    (response) => response.ok,
    () => false,
  )
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 2))
}

async function weighSupervisor(folder: string): Promise<{ rss: number; pss: number }> {
  const quintet = async (...args: string[]): Promise<string> =>
    (
      await promisify(execFile)(process.execPath, [
        bin(),
        ...args,
        '--json',
        '--config',
        config,
        '--data',
        folder,
      ])
    ).stdout
  await quintet('up')
  try {
    const { pid } = JSON.parse(await quintet('status')) as EcosystemStatus
    const memory = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8')
    const megabytes = (name: string): number =>
      Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(memory)?.[1] ?? 0) / 1024
    return { rss: megabytes('Rss'), pss: megabytes('Pss') }
  } finally {
    await quintet('down')
  }
}

function bin(): string {
  return join(dirname(createRequire(import.meta.url).resolve('@quintet/orchestrator')), 'bin.ts')
}
