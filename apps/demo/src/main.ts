import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { EcosystemEvent } from '@quintet/orchestrator'
import { openStage, type LiveStage } from './live-stage.ts'
import { parseOptions, defaultPort, usage, type DemoOptions } from './options.ts'
import { formatBytes, table } from '@quintet/orchestrator/terminal'
import { bold, describeStep, dim, formatDuration } from './report.ts'
import { playScenario } from './scenario.ts'

const startedAt = performance.now()
const stopping = new AbortController()

async function main(): Promise<number> {
  const options = parseOptions(process.argv.slice(2))
  if (options.help) {
    console.log(usage)
    return 0
  }
  console.log(bold('\nQuintet: five apps behind one gateway\n'))
  await using directory = await temporaryDirectory()
  const stage = await openStage({
    directory: directory.path,
    ports: options.port === defaultPort ? 'fixed' : 'auto',
    gatewayPort: options.port,
    onEvent: tell,
    signal: stopping.signal,
  })
  try {
    return await perform(stage, options)
  } finally {
    await stage.stop()
  }
}

/** Plays on a stage that is ready; what it answers is the exit code. */
async function perform(stage: LiveStage, options: DemoOptions): Promise<number> {
  console.log(`\n  Ready after ${formatDuration(performance.now() - startedAt)}\n`)
  await showProcesses(stage)
  console.log(bold('\nThe scenario, as an outside client of the gateway\n'))
  const results = await playScenario(stage, {
    stopAtEnd: options.exit,
    onStep: (result) => console.log(describeStep(result)),
  })
  const held = results.filter(({ ok }) => ok).length
  const failed = results.length - held
  console.log(
    bold(
      `\n  ${held} steps held, ${failed} failed, ${formatDuration(performance.now() - startedAt)} in all\n`,
    ),
  )
  if (!options.exit) await stay(stage)
  return failed === 0 && !stopping.signal.aborted ? 0 : options.exit || failed > 0 ? 1 : 0
}

/** Shows where everything is, until it is interrupted. */
async function stay(stage: LiveStage): Promise<void> {
  const { gatewayUrl, ecosystem } = stage
  const docs = ['auth', 'media', 'ledger', 'analytics', 'realtime'].map((app) => [
    app,
    `${gatewayUrl}/api/${app}/docs`,
  ])
  console.log(
    table([
      ['gateway', gatewayUrl],
      ...docs,
      ['WebSocket', `${gatewayUrl.replace('http', 'ws')}/ws/`],
      ['data and logs', ecosystem.dataDirectory],
    ]),
  )
  console.log(dim('\n  Ctrl-C ends it.\n'))
  console.log(`  open ${gatewayUrl}/api/web/\n`)
  const ended = new Promise<void>((resolve) =>
    stopping.signal.addEventListener('abort', () => resolve(), { once: true }),
  )
  if (!stopping.signal.aborted) await Promise.race([ended, ecosystem.stopped])
  console.log('  Stopping …')
}

/** Every demo begins afresh, and leaves nothing behind. */
async function temporaryDirectory(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'quintet-demo-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

async function showProcesses({ ecosystem }: LiveStage): Promise<void> {
  const { processes, servers, memory } = await ecosystem.status()
  const services = processes.filter(({ kind }) => kind === 'service')
  console.log(
    table([
      ['process', 'state', 'pid', 'memory', 'address'],
      ...services.map(({ id, phase, pid, usage, urls }) => [
        id,
        phase,
        String(pid ?? '-'),
        usage ? formatBytes(usage.pss) : '-',
        Object.values(urls).join(' '),
      ]),
      ...servers.map(({ name, source, pid, usage, port }) => [
        name,
        source,
        String(pid ?? '-'),
        usage ? formatBytes(usage.pss) : '-',
        `127.0.0.1:${port}`,
      ]),
    ]),
  )
  console.log(`\n  Everything together, supervisor included: ${formatBytes(memory.pss)} (PSS) at rest`)
}

function tell(event: EcosystemEvent): void {
  if (event.type === 'progress') console.log(`  ${event.message} …`)
  else if (event.type === 'process' && event.to === 'ready') console.log(dim(`  ${event.id} is ready`))
  else if (event.type === 'process' && (event.to === 'backoff' || event.to === 'failed')) {
    console.log(`  ${event.id}: ${event.to} (${event.reason})`)
  }
}

let signals = 0
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.on(signal, () => {
    if (++signals > 1) process.exit(130)
    stopping.abort()
  })
}

try {
  process.exitCode = await main()
} catch (error) {
  if (!stopping.signal.aborted) console.error(`\n${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
}
