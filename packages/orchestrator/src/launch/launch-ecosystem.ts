import { badCommand } from '../errors.ts'
import { loadPlan } from '../plan/load-plan.ts'
import type { Plan } from '../plan/plan.ts'
import { compilePlan } from '../runner/warm-compile-cache.ts'
import type { EcosystemEvent } from '../running/ecosystem-events.ts'
import type { EcosystemRunOptions, RunningEcosystem } from '../running/running-ecosystem.ts'
import { startServers } from '../servers/servers.ts'
import { defaultStateDirectory, stateDirectory } from '../state/state-directory.ts'
import { assignPorts } from '../supervisor/assign-ports.ts'
import { createHandle } from './ecosystem-handle.ts'
import { createEventRecord } from './event-record.ts'
import { openFolder } from './open-folder.ts'
import { createOutcome } from './outcome.ts'
import { prepareDatabases } from './prepare-databases.ts'
import { supervise } from './supervise.ts'

export interface LaunchOptions extends EcosystemRunOptions {
  /** Told when it begins to stop in order, whatever for. */
  readonly onStopping?: () => void
  /** What has happened before the start, for those who ask later. */
  readonly firstEvent?: EcosystemEvent
}

/** As `startEcosystem`, but does not wait for the processes. */
export async function launchEcosystem(
  source: string | Plan,
  options: LaunchOptions = {},
): Promise<RunningEcosystem> {
  const { env = process.env, dev = false, signal, gatewayPort } = options
  const record = createEventRecord()
  if (options.firstEvent) record.add(options.firstEvent)
  const onEvent = (event: EcosystemEvent): void => {
    record.add(event)
    options.onEvent?.(event)
  }
  const plan = readPlan(typeof source === 'string' ? await loadPlan(source) : source, options)
  const state = stateDirectory(
    options.dataDirectory ?? defaultStateDirectory(plan.project, plan.configFile, env),
  )
  const outcome = createOutcome(() => options.onStopping?.())

  await using made = new AsyncDisposableStack()
  const { onSupervisorLoss = 'stop' } = options
  const folder = await openFolder(made, { plan, state, env, onSupervisorLoss, onEvent })
  const { keeping, secrets } = folder
  const portOptions = { ports: options.ports ?? 'fixed', gatewayPort }
  const ports = await assignPorts(plan, { ...portOptions, kept: keeping.ports })
  signal?.throwIfAborted()
  const compiled = compilePlan(plan, env as NodeJS.ProcessEnv, signal)
  const servers = await startServers({
    ...{ plan, state, secrets, env, onEvent },
    hold: keeping.servers,
    onLost: (id, reason) => outcome.fail({ id, reason: `${id} is lost: ${reason}` }),
  })
  // What goes on needs them.
  made.defer(async () => void (keeping.isNeeded || (await servers.stop())))
  const databases = await prepareDatabases(plan, servers, secrets, onEvent)
  signal?.throwIfAborted()
  const supervision = await supervise(made, {
    ...{ plan, state, folder, servers, databases, ports, env, dev, outcome, onEvent },
  })
  await compiled
  signal?.throwIfAborted()

  const { supervisor } = supervision
  const resources = made.move()
  const isSound = outcome.begin(async (reason) => {
    try {
      await supervisor.stop(reason)
      keeping.finish()
    } finally {
      await resources.disposeAsync()
    }
  })
  if (isSound) supervisor.start()
  return createHandle({
    ...{ ...supervision, plan, dataDirectory: state.root, ports, portOptions, servers, secrets },
    ...{ record, outcome },
  })
}

/** @throws OrchestratorError when the options ask for what the plan has not. */
function readPlan(plan: Plan, { dev, gatewayPort }: LaunchOptions): Plan {
  if (gatewayPort !== undefined && plan.gateway === null) {
    throw badCommand(
      `There is no gateway that could have port ${gatewayPort}: the ecosystem file says none (infrastructure.services.gateway).`,
    )
  }
  return dev ? withoutCritical(plan) : plan
}

/** Under `dev` a broken app waits for the next save, and takes nothing along. */
function withoutCritical(plan: Plan): Plan {
  return {
    ...plan,
    apps: plan.apps.map((app) => ({ ...app, critical: false })),
    processes: plan.processes.map((each) => ({ ...each, critical: false })),
  }
}
