import { realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { OrchestratorError } from '../errors.ts'
import { adoptPostgres } from '../infrastructure/postgres/adopt-postgres.ts'
import { adoptRedis } from '../infrastructure/redis/adopt-redis.ts'
import { startPostgres } from '../infrastructure/postgres/start-postgres.ts'
import { startRedis } from '../infrastructure/redis/start-redis.ts'
import type { Environment } from '../infrastructure/environment.ts'
import type { HeldServer } from '../infrastructure/held-server.ts'
import type { Plan } from '../plan/plan.ts'
import type { Secrets } from '../state/secrets.ts'
import type { StateDirectory } from '../state/state-directory.ts'
import { endLeftovers, type EndLeftoversOptions } from '../processes/end-leftovers.ts'
import { findWorkingIn } from '../processes/find-processes.ts'
import { isPortFree } from '../processes/free-port.ts'
import { identify } from '../processes/process-identity.ts'
import type { EcosystemEvent } from '../running/ecosystem-events.ts'

export interface ServersOptions {
  readonly plan: Plan
  readonly state: StateDirectory
  readonly secrets: Secrets
  readonly env: Environment
  /** Where servers outlive their supervisor. */
  readonly hold?: ServerHold | undefined
  readonly onEvent: (event: EcosystemEvent) => void
  /** A server ended and could not be started again. */
  readonly onLost: (name: ServerName, reason: string) => void
}

export type ServerName = 'postgres' | 'redis'

/** What servers that go on were and are. */
export interface ServerHold {
  readonly found: (name: ServerName) => HeldServer | undefined
  readonly started: (name: ServerName, server: HeldServer) => void
  readonly ended: (name: ServerName) => void
}

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
      await guard('postgres', options, {
        adopt: (found) => adoptPostgres(state.postgres, found),
        async start(kept) {
          const wanted = port ?? kept
          await endLeftoverServer(join(state.postgres, 'data'), 'postgres', 'SIGINT')
          return startPostgres({
            directory: state.postgres,
            outlives: options.hold !== undefined,
            env: url === null ? env : { ...env, DATABASE_URL: url },
            onProgress,
            ...(wanted === undefined ? {} : { port: wanted }),
          })
        },
      }),
    )
    started.defer(() => list[0]?.stop())
  }
  if (plan.redis !== false && plan.apps.some((app) => app.requires.redis)) {
    const { url, port } = plan.redis
    const password = secrets.get('redis')
    const redis = await guard('redis', options, {
      adopt: (found) => adoptRedis(state.redis, password, found),
      async start(kept) {
        const wanted = port ?? kept
        await endLeftoverServer(join(state.redis, 'data'), 'redis-server', 'SIGTERM')
        return startRedis({
          directory: state.redis,
          outlives: options.hold !== undefined,
          password,
          env: url === null ? env : { ...env, REDIS_URL: url },
          onProgress,
          ...(wanted === undefined ? {} : { port: wanted }),
        })
      },
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

/** How a kind of server is had. */
interface ServerKind {
  /** Undefined when what was left is not that server. */
  readonly adopt: (found: HeldServer) => Promise<Running | undefined>
  readonly start: (port: number | undefined) => Promise<Running>
}

/** What an earlier supervisor has left, where it is the server that is wanted now. */
function findHeld(name: ServerName, { env, plan, hold }: ServersOptions): HeldServer | undefined {
  const settings = plan[name]
  if (settings === false || settings.url !== null) return undefined
  if (env[name === 'postgres' ? 'DATABASE_URL' : 'REDIS_URL']) return undefined
  const found = hold?.found(name)
  return found && (settings.port ?? found.port) === found.port ? found : undefined
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
  { adopt, start }: ServerKind,
): Promise<GuardedServer> {
  const { secrets, onEvent, onLost } = options
  const key = `${name}.port`
  const kept = secrets.number(key)
  const found = findHeld(name, options)
  let server =
    (found && (await adopt(found))) ??
    (await start(kept !== undefined && (await isPortFree(kept)) ? kept : undefined))
  hold()
  let stopping = false
  let ends: number[] = []
  let restarts = 0
  let restarting: Promise<void> | undefined
  if (server.source !== 'external') secrets.keepNumber(key, server.port)

  function hold(): void {
    const identity = server.pid === undefined ? undefined : identify(server.pid)
    if (identity) options.hold?.started(name, { identity, port: server.port, source: server.source })
  }

  async function watch(): Promise<void> {
    await server.ended
    options.hold?.ended(name)
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
      hold()
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
