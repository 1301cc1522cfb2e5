import { randomBytes } from 'node:crypto'
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { openProcessChannels } from '../control/process-channels.ts'
import { describeStatus, everything } from './describe-status.ts'
import { createEventRecord } from './event-record.ts'
import { openKeeping } from './keeping.ts'
import { openLogs } from './open-logs.ts'
import type { ProcessPhase } from '../running/process-phase.ts'
import type { EcosystemFailure, EcosystemRunOptions, RunningEcosystem } from '../running/running-ecosystem.ts'
import { badCommand, OrchestratorError } from '../errors.ts'
import { isNamed } from '../running/is-named.ts'
import { createSampler } from '../metrics/sampler.ts'
import { compilePlan } from '../runner/warm-compile-cache.ts'
import { loadPlan } from '../plan/load-plan.ts'
import type { Plan } from '../plan/plan.ts'
import { describeUnusedDatabases, provisionApps } from '../servers/app-databases.ts'
import type { DatabaseUrls } from '../servers/provision.ts'
import { startServers, type Servers } from '../servers/servers.ts'
import { claimFolder } from '../state/folder-identity.ts'
import { takeLock } from '../state/lock.ts'
import { openSecrets, type Secrets } from '../state/secrets.ts'
import {
  clearRunDirectory,
  defaultStateDirectory,
  prepareStateDirectory,
  stateDirectory,
} from '../state/state-directory.ts'
import { assignPorts } from '../supervisor/assign-ports.ts'
import type { EcosystemEvent } from '../running/ecosystem-events.ts'
import { endLeftovers } from '../processes/end-leftovers.ts'
import { findMarked } from '../processes/find-processes.ts'
import { startGuardian, type Guardian } from '../processes/guardian.ts'
import { childMark, folderMark, runMark, type ProcessMark } from '../processes/process-mark.ts'
import { maintenanceToken, processEnvironment } from '../supervisor/process-environment.ts'
import { createSupervisor, type Supervisor } from '../supervisor/supervisor.ts'
import { supervisorClock } from '../supervisor/timers.ts'

/**
 * Starts an ecosystem under this process: servers, databases, migrations, then every process in order. Resolves
 * when all are ready.
 *
 * Whatever becomes of this process, nothing outlives it.
 *
 * @param source the ecosystem file, or the plan that `loadPlan` made of it.
 * @throws OrchestratorError or InfrastructureError when it cannot start; then nothing is left running. Naming the
 *   process that failed, why, and its last lines, when one that everything hangs on did not get ready.
 */
export async function startEcosystem(
  source: string | Plan,
  options: EcosystemRunOptions = {},
): Promise<RunningEcosystem> {
  const ecosystem = await launchEcosystem(source, options)
  try {
    await Promise.race([ecosystem.settled(options.signal), ecosystem.stopped])
    if (ecosystem.failure !== null) throw cannotStart(ecosystem, ecosystem.failure)
    return ecosystem
  } catch (error) {
    await ecosystem.stop('it could not start')
    throw error
  }
}

/** Names what failed, with the last lines that it wrote. */
function cannotStart(ecosystem: RunningEcosystem, failure: EcosystemFailure): OrchestratorError {
  const { id, reason } = failure
  const isProcess = ecosystem.plan.processes.some((each) => each.id === id)
  const lines = isProcess ? ecosystem.logs(id, 10) : []
  return new OrchestratorError([`The ecosystem could not start. ${reason}`, ...lines].join('\n'), {
    code: 'ERR_ORCHESTRATOR_START_FAILED',
    kind: 'unavailable',
  })
}

/** How long processes of an earlier run may take to end in an orderly way, in milliseconds. */
const leftoverGrace = 10_000

export interface LaunchOptions extends EcosystemRunOptions {
  /** Told when it begins to stop in order, whatever for. */
  readonly onStopping?: () => void
}

/** As {@link startEcosystem}, but does not wait for the processes. */
export async function launchEcosystem(
  source: string | Plan,
  options: LaunchOptions = {},
): Promise<RunningEcosystem> {
  const env = options.env ?? process.env
  const record = createEventRecord()
  const onEvent = (event: EcosystemEvent): void => {
    record.add(event)
    options.onEvent?.(event)
  }
  const given = typeof source === 'string' ? await loadPlan(source) : source
  const plan = options.dev ? withoutCritical(given) : given
  if (options.gatewayPort !== undefined && plan.gateway === null) {
    throw badCommand(
      `There is no gateway that could have port ${options.gatewayPort}: the ecosystem file says none (infrastructure.services.gateway).`,
    )
  }
  const state = stateDirectory(
    options.dataDirectory ?? defaultStateDirectory(plan.project, plan.configFile, env),
  )
  prepareStateDirectory(state)
  await using made = new AsyncDisposableStack()
  // Sockets that had to go elsewhere because the data folder's path is too long for them.
  made.use(await takeLock(state.root, state.run))
  const keeping = await openKeeping(state, plan, options.onSupervisorLoss ?? 'stop', (error) =>
    onEvent({
      type: 'progress',
      message: `What is held could not be written down, and the next supervisor may start it anew: ${error.message}`,
    }),
  )
  made.defer(async () => {
    keeping.close()
    if (!keeping.isNeeded && !state.run.startsWith(state.root))
      await rm(state.run, { recursive: true, force: true })
  })
  clearRunDirectory(state, keeping.found.processes.size > 0)
  const secrets = openSecrets(state.secretsFile)
  const attention = claimFolder(state, plan, secrets, env)
  if (attention !== undefined) onEvent({ type: 'progress', message: attention })
  const ofFolder = folderMark(secrets.get('mark'))
  await endLeftovers(() => findMarked(ofFolder, keeping.found.marks), {
    signal: 'SIGTERM',
    graceMs: leftoverGrace,
    onFound: (count) =>
      onEvent({ type: 'progress', message: `Ending ${count} processes that an earlier run has left behind` }),
  })
  keeping.begin()
  const ports = await assignPorts(plan, {
    ports: options.ports ?? 'fixed',
    gatewayPort: options.gatewayPort,
    kept: keeping.ports,
  })
  const stopped = Promise.withResolvers<number>()
  let lost: EcosystemFailure | undefined
  let fail = (found: EcosystemFailure): void => void (lost ??= found)
  options.signal?.throwIfAborted()
  const compiled = compilePlan(plan, env as NodeJS.ProcessEnv, options.signal)
  const servers = await startServers({
    plan,
    state,
    secrets,
    env,
    onEvent,
    hold: keeping.servers,
    onLost: (id, reason) => fail({ id, reason: `${id} is lost: ${reason}` }),
  })
  // What goes on needs them.
  made.defer(async () => void (keeping.isNeeded || (await servers.stop())))
  const databases = await prepareDatabases(plan, servers, secrets, onEvent)
  options.signal?.throwIfAborted()

  const logs = await openLogs(plan, state)
  made.defer(async () => void (await Promise.all([...logs.values()].map((log) => log.close()))))
  const linksDirectory = join(state.run, 'links')
  await mkdir(linksDirectory, { recursive: true, mode: 0o700 })
  const channels = await openProcessChannels(
    // Where processes that went on look for the next supervisor.
    join(state.run, 'processes.sock'),
    secrets.get('control'),
  )
  made.defer(() => channels.close())
  const ofRun = unlike(keeping.found.marks, () => runMark(ofFolder))
  let children = 0
  const mark = (): ProcessMark => childMark(ofRun, (children += 1))
  const guardian = keeping.policy === 'keep' ? noGuardian : startGuardian(ofRun)
  made.defer(() => guardian.release())

  const environment = (id: string, inherited = env): Record<string, string> => {
    const planned = plan.processes.find((each) => each.id === id)
    if (!planned) throw new TypeError(`There is no process ${id}.`)
    return processEnvironment(planned, {
      plan,
      env: inherited,
      dev: options.dev ?? false,
      secrets,
      databases,
      redisUrl: servers.url('redis'),
      linksDirectory,
      ports,
    })
  }
  const kept = keeping.open({ plan, ports, mark, environment })
  const supervisor = createSupervisor({
    plan,
    ...(kept ? { spawn: kept.spawn, adopted: kept.adopted } : {}),
    standby: (id) =>
      kept?.holder(id) === 'held' ? join(state.run, `s.${randomBytes(3).toString('hex')}`) : undefined,
    logs,
    ports,
    channels,
    guardian,
    mark,
    clock: supervisorClock,
    environment,
    onEvent(event) {
      if (event.type === 'process') logs.get(event.id)?.note(`${event.from} -> ${event.to}: ${event.reason}`)
      if (event.type === 'reload') logs.get(event.id)?.note(`reload ${event.state}: ${event.reason}`)
      if (event.type === 'process' && isOver(event.to)) kept?.release(event.id)
      onEvent(event)
    },
    onEscalated: (id, reason) => fail({ id, reason: `${id} failed: ${reason}` }),
  })
  const sampler = createSampler({ ...plan.metrics, targets: () => targetsOf(supervisor, servers) })
  made.defer(() => sampler.close())
  await compiled
  options.signal?.throwIfAborted()
  const resources = made.move()
  const startedAt = Date.now()
  let stopping: Promise<void> | undefined
  let failure: EcosystemFailure | null = null

  function stop(reason = 'the ecosystem stops'): Promise<void> {
    if (!stopping) options.onStopping?.()
    stopping ??= (async () => {
      try {
        await supervisor.stop(reason)
        keeping.finish()
      } finally {
        await resources.disposeAsync()
        stopped.resolve(failure === null ? 0 : 1)
      }
    })()
    return stopping
  }
  fail = (found) => {
    failure ??= found
    // What goes wrong on the way down is in the logs; the failure is what is told.
    stop(found.reason).catch(() => undefined)
  }
  if (lost === undefined) supervisor.start()
  else fail(lost)

  return {
    plan,
    dataDirectory: state.root,
    pid: process.pid,
    get gatewayUrl() {
      const id = plan.gateway?.processId
      return id === undefined ? null : `http://127.0.0.1:${ports.get(id)?.['http'] ?? 0}`
    },
    get urls() {
      return Object.fromEntries([...supervisor.processes].map(([id, { urls }]) => [id, urls]))
    },
    async status() {
      await sampler.sampleNew()
      return describeStatus({
        plan,
        dataDirectory: state.root,
        supervisor,
        servers,
        startedAt,
        latest: sampler.latest,
        holder: (id) => kept?.holder(id) ?? null,
      })
    },
    logs(id, count = 100) {
      const log = logs.get(id)
      if (!log) throw unknown(id, plan)
      return log.recent(count)
    },
    follow(name, onLine) {
      const ids = plan.processes
        .map((each) => each.id)
        .filter((id) => name === undefined || isNamed(id, name))
      if (ids.length === 0) throw unknown(name ?? '', plan)
      const followed = ids.flatMap((id) => logs.get(id) ?? [])
      const subscriptions = ids.map((id) => logs.get(id)?.subscribe((line) => onLine(id, line)))
      return {
        caughtUp: Promise.all(followed.map((log) => log.flushed())).then(() => undefined),
        [Symbol.dispose]: () => {
          for (const each of subscriptions) each?.[Symbol.dispose]()
        },
      }
    },
    get events() {
      return record.events
    },
    onEvent: record.subscribe,
    metrics(name) {
      const names = [everything, ...servers.list.map((server) => server.name), ...supervisor.processes.keys()]
      if (names.includes(name)) return sampler.history(name)
      throw new OrchestratorError(
        `There are no measurements of "${name}". There are those of: ${names.join(', ')}.`,
        { code: 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS', kind: 'not-found' },
      )
    },
    reload: (name) => supervisor.reload(name),
    restart: (name, restartOptions) => supervisor.restart(name, restartOptions),
    secret(name) {
      const names = new Set([
        'maintenance-token',
        'operator-token',
        ...plan.apps.flatMap((app) => app.requires.secrets),
      ])
      if (name === 'maintenance-token') return maintenanceToken(plan, secrets)
      if (names.has(name)) return secrets.get(`shared:${name}`)
      throw badCommand(`There is no secret "${name}". There are: ${[...names].join(', ')}.`)
    },
    settled: (signal) => supervisor.settled(signal),
    get failure() {
      return failure
    },
    stopped: stopped.promise,
    stop,
    async kill() {
      supervisor.kill()
      await stop('killed')
    },
    [Symbol.asyncDispose]: () => stop(),
  }
}

async function prepareDatabases(
  plan: Plan,
  servers: Servers,
  secrets: Secrets,
  onEvent: (event: EcosystemEvent) => void,
): Promise<Readonly<Record<string, DatabaseUrls>>> {
  const adminUrl = servers.url('postgres')
  if (adminUrl === null) return {}
  onEvent({ type: 'progress', message: 'Preparing databases' })
  const attention = describeUnusedDatabases(plan, secrets)
  if (attention !== undefined) onEvent({ type: 'progress', message: attention })
  return provisionApps(plan, adminUrl, secrets)
}

/** Where everything outlives its supervisor. */
const noGuardian: Guardian = { add: () => undefined, remove: () => undefined, release: () => undefined }

/** A mark that none of those that are in use begins with. */
function unlike(marks: readonly ProcessMark[], make: () => ProcessMark): ProcessMark {
  for (;;) {
    const made = make()
    if (!marks.some(({ variable }) => variable.startsWith(made.variable))) return made
  }
}

/** Nothing of it runs, or will by itself. */
function isOver(phase: ProcessPhase): boolean {
  return phase === 'stopped' || phase === 'failed' || phase === 'completed'
}

/** Under `dev` a broken app waits for the next save, and takes nothing along. */
function withoutCritical(plan: Plan): Plan {
  return {
    ...plan,
    apps: plan.apps.map((app) => ({ ...app, critical: false })),
    processes: plan.processes.map((each) => ({ ...each, critical: false })),
  }
}

function targetsOf(supervisor: Supervisor, servers: Servers): Map<string, [number, ...number[]]> {
  const targets = new Map<string, [number, ...number[]]>()
  for (const { name, pid } of servers.list) if (pid !== undefined) targets.set(name, [pid])
  for (const [id, { pid }] of supervisor.processes) if (pid !== undefined) targets.set(id, [pid])
  // What was taken over is no descendant of ours.
  return targets.set(everything, [process.pid, ...[...targets.values()].flat()])
}

function unknown(name: string, plan: Plan): OrchestratorError {
  const names = plan.processes.map((each) => each.id).join(', ')
  return new OrchestratorError(`There is no app or process "${name}". There are: ${names}.`, {
    code: 'ERR_ORCHESTRATOR_UNKNOWN_PROCESS',
    kind: 'not-found',
  })
}
