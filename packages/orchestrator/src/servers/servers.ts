import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { OrchestratorError } from '../errors.ts'
import { startPostgres } from '../infrastructure/postgres/start-postgres.ts'
import { startRedis } from '../infrastructure/redis/start-redis.ts'
import type { Environment } from '../infrastructure/environment.ts'
import type { Plan } from '../plan/plan.ts'
import type { Secrets } from '../state/secrets.ts'
import type { StateDirectory } from '../state/state-directory.ts'
import { endLeftovers, type EndLeftoversOptions } from '../processes/end-leftovers.ts'
import { findWorkingIn } from '../processes/find-processes.ts'
import { isPortFree } from '../processes/free-port.ts'
import type { EcosystemEvent } from '../running/ecosystem-events.ts'

export interface ServersOptions {
  readonly plan: Plan
  readonly state: StateDirectory
  readonly secrets: Secrets
  readonly env: Environment
  readonly onEvent: (event: EcosystemEvent) => void
  /** A server ended and could not be started again. */
  readonly onLost: (name: ServerName, reason: string) => void
}

export type ServerName = 'postgres' | 'redis'

/** The part of a started server that both kinds have. */
interface Running {
  readonly url: string
  readonly port: number
  readonly pid: number | undefined
  readonly source: string
  readonly ended: Promise<void>
  stop(): Promise<void>
}

export interface RunningServer {
  readonly name: ServerName
  /** With its password. */
  readonly url: string
  readonly port: number
  readonly pid: number | undefined
  /** `external`: run outside the ecosystem. */
  readonly source: string
  readonly restarts: number
}

/** The servers that the apps of a plan require. */
export interface Servers {
  readonly list: readonly RunningServer[]
  url(name: ServerName): string | null
  stop(): Promise<void>
}

/** How often a server that ended is started again, within a minute. */
const maxRestarts = 3

/** @throws InfrastructureError when one cannot be had; then none is left running. */
export async function startServers(options: ServersOptions): Promise<Servers> {
  const { plan, state, secrets, env } = options
  const onProgress = (message: string): void => options.onEvent({ type: 'progress', message })
  await using started = new AsyncDisposableStack()
  const list: GuardedServer[] = []

  if (plan.postgres !== false && plan.apps.some((app) => app.requires.postgres)) {
    const { url, port } = plan.postgres
    list.push(
      await guard('postgres', options, async (kept) => {
        const wanted = port ?? kept
        await endLeftoverServer(join(state.postgres, 'data'), 'postgres', 'SIGINT')
        return startPostgres({
          directory: state.postgres,
          env: url === null ? env : { ...env, DATABASE_URL: url },
          onProgress,
          ...(wanted === undefined ? {} : { port: wanted }),
        })
      }),
    )
    started.defer(() => list[0]?.stop())
  }
  if (plan.redis !== false && plan.apps.some((app) => app.requires.redis)) {
    const { url, port } = plan.redis
    const redis = await guard('redis', options, async (kept) => {
      const wanted = port ?? kept
      await endLeftoverServer(join(state.redis, 'data'), 'redis-server', 'SIGTERM')
      return startRedis({
        directory: state.redis,
        password: secrets.get('redis'),
        env: url === null ? env : { ...env, REDIS_URL: url },
        onProgress,
        ...(wanted === undefined ? {} : { port: wanted }),
      })
    })
    list.push(redis)
    started.defer(() => redis.stop())
  }
  const running = started.move()
  return {
    list,
    url: (name) => list.find((server) => server.name === name)?.url ?? null,
    stop: () => running.disposeAsync(),
  }
}

/** How long a server that an earlier run has left, or what is left of it, may take to end. */
const leftoverGrace = 5_000

/**
 * Ends what still works on the data of a server that we are about to start: that of an earlier run whose guardian was
 * killed with it, or the busy backends of a killed postmaster, which keep the next one from starting.
 * Only for the holder of the data folder's lock.
 */
async function endLeftoverServer(
  data: string,
  program: string,
  signal: EndLeftoversOptions['signal'],
): Promise<void> {
  const folder = await realpath(data).catch(() => undefined)
  if (folder === undefined) return
  await endLeftovers(() => findWorkingIn(folder, program), { signal, graceMs: leftoverGrace })
}

interface GuardedServer extends RunningServer {
  stop(): Promise<void>
}

/** Starts a server on the port that it had the last time if it can, and starts it again there when it ends by itself. */
async function guard(
  name: ServerName,
  options: ServersOptions,
  start: (port: number | undefined) => Promise<Running>,
): Promise<GuardedServer> {
  const { secrets, onEvent, onLost } = options
  const key = `${name}.port`
  const kept = secrets.number(key)
  let server = await start(kept !== undefined && (await isPortFree(kept)) ? kept : undefined)
  let stopping = false
  let ends: number[] = []
  let restarts = 0
  let restarting: Promise<void> | undefined
  if (server.source !== 'external') secrets.keepNumber(key, server.port)

  async function watch(): Promise<void> {
    await server.ended
    if (stopping) return
    onEvent({ type: 'server', name, state: 'ended', reason: 'it ended by itself' })
    restarting = startAgain()
  }

  async function startAgain(): Promise<void> {
    const now = performance.now()
    ends = [...ends, now].filter((end) => now - end < 60_000)
    try {
      if (ends.length > maxRestarts)
        throw new OrchestratorError(`it ended ${ends.length} times within a minute`, {
          code: 'ERR_ORCHESTRATOR_START_FAILED',
          kind: 'unavailable',
        })
      const again = await start(server.port)
      if (stopping) return await again.stop()
      server = again
      restarts += 1
      onEvent({ type: 'server', name, state: 'ready', reason: 'it was started again' })
      void watch()
    } catch (error) {
      if (!stopping) onLost(name, (error as Error).message)
    }
  }
  void watch()

  return {
    name,
    get url() {
      return server.url
    },
    get port() {
      return server.port
    },
    get pid() {
      return server.pid
    },
    get source() {
      return server.source
    },
    get restarts() {
      return restarts
    },
    async stop() {
      stopping = true
      await server.stop()
      // One that is being started again at this moment is stopped as soon as it can be.
      await restarting
    },
  }
}
