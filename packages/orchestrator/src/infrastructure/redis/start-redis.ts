import { randomBytes } from 'node:crypto'
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Environment } from '../environment.ts'
import { InfrastructureError } from '../errors.ts'
import { externalServer } from '../external-server.ts'
import { freePort } from '../../processes/free-port.ts'
import { describePortOwner, findPortOwner } from '../../processes/port-owner.ts'
import { findRedis, type RedisCommand } from './redis-command.ts'
import { pingRedis } from './redis-ping.ts'
import { startServerProcess, type ServerProcess, type ServerProcessOptions } from '../server-process.ts'
import { assertReachable, giveTo, serverUser, type ServerUser } from '../server-user.ts'

export interface RedisOptions {
  /** Where its data lives from run to run. @defaultValue a temporary folder that is removed with the server */
  readonly directory?: string
  /** On 127.0.0.1. @defaultValue a free one */
  readonly port?: number
  /** Keep an append-only file, synced every second. @defaultValue true with a `directory`, else false */
  readonly durable?: boolean
  /** It goes on when this process is killed. Not with a temporary folder. @defaultValue false */
  readonly outlives?: boolean
  /** Letters, digits, `-` and `_`. @defaultValue a random one */
  readonly password?: string
  /** Where `REDIS_URL` and `PATH` are read. @defaultValue `process.env` */
  readonly env?: Environment
  /** Told what is going on, in words, when it takes a while: installing a Redis does. */
  readonly onProgress?: (message: string) => void
}

export interface RedisServer extends AsyncDisposable {
  /** With the password. */
  readonly url: string
  readonly port: number
  /** Undefined for a server that `REDIS_URL` names. */
  readonly pid: number | undefined
  readonly source: 'external' | RedisCommand['source']
  /** Resolves when the server has ended, whoever ended it; never for an external one. */
  readonly ended: Promise<void>
  /** Idempotent. */
  stop(): Promise<void>
}

/**
 * Gives a real Redis: the one that `REDIS_URL` names, or a private one on 127.0.0.1 with a random password and
 * `noeviction`. It does not outlive this process, however that ends.
 *
 * @throws InfrastructureError when none can be had, started or reached.
 */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  const env = options.env ?? process.env
  const external = env['REDIS_URL']
  if (external) {
    await assertRedisReachable(external)
    return externalServer(external, 6379)
  }

  const onProgress = options.onProgress ?? (() => undefined)
  const redis = await findRedis(env, onProgress)
  const user = redis.source === 'docker' ? undefined : serverUser()
  const temporary = options.directory === undefined
  const directory = temporary
    ? await mkdtemp(join(tmpdir(), 'quintet-redis-'))
    : resolve(options.directory as string)
  try {
    const data = await makeDataFolder(directory, user)
    onProgress('Starting Redis')
    const password = options.password ?? randomBytes(24).toString('base64url')
    if (!/^[\w-]+$/.test(password)) {
      throw new TypeError('startRedis.password: give letters, digits, "-" and "_" only.')
    }
    const durable = options.durable ?? !temporary
    const { server, url, port } = await listen(options.port, async (candidate) => ({
      port: candidate,
      url: redisUrl(password, candidate),
      server: await startServerProcess({
        name: 'Redis',
        command: redis.command,
        args: redis.args(candidate),
        cwd: '/',
        env,
        user,
        input: configuration({
          ...redis.listen(candidate),
          directory: redis.directory ?? data,
          password,
          durable,
        }),
        logFile: join(directory, 'redis.log'),
        ...stopping,
        removeDirectory: temporary ? directory : undefined,
        outlives: !temporary && (options.outlives ?? false),
      }),
    }))
    return redisServer({
      server,
      url,
      port,
      source: redis.source,
      released: async () => void (temporary && (await rm(directory, { recursive: true, force: true }))),
    })
  } catch (error) {
    if (temporary) await rm(directory, { recursive: true, force: true })
    throw error
  }
}

export const stopping: Pick<ServerProcessOptions, 'stopSignal' | 'stopTimeout'> = Object.freeze({
  stopSignal: 'TERM',
  stopTimeout: 10_000,
})

export function redisUrl(password: string, port: number): string {
  return `redis://:${password}@127.0.0.1:${port}`
}

interface RedisParts extends Pick<RedisServer, 'url' | 'port' | 'source'> {
  readonly server: ServerProcess
  readonly released?: () => Promise<void>
}

export function redisServer({ server, url, port, source, released }: RedisParts): RedisServer {
  const stop = async (): Promise<void> => {
    await server.stop()
    await released?.()
  }
  return {
    url,
    port,
    pid: server.pid,
    source,
    ended: server.ended,
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

async function assertRedisReachable(url: string): Promise<void> {
  let where = 'the server'
  try {
    const { hostname, port } = new URL(url)
    where = `${hostname}:${port || 6379}`
    await pingRedis(url, 5_000)
  } catch (cause) {
    throw new InfrastructureError(
      `REDIS_URL: ${where} cannot be used (${(cause as Error).message}). Correct it, or unset it to let a private Redis be started.`,
      { code: 'ERR_INFRASTRUCTURE_NOT_REACHABLE', cause },
    )
  }
}

async function makeDataFolder(directory: string, user: ServerUser | undefined): Promise<string> {
  const data = join(directory, 'data')
  try {
    await mkdir(data, { recursive: true, mode: 0o700 })
    if (user) await chmod(directory, 0o711)
    await giveTo(user, data)
  } catch (cause) {
    throw new InfrastructureError(
      `The Redis data folder ${data} cannot be used: ${(cause as Error).message}. Check who owns it, or choose another folder.`,
      { code: 'ERR_INFRASTRUCTURE_DATA_DIRECTORY', cause },
    )
  }
  assertReachable(user, data)
  return data
}

interface Configuration {
  readonly bind: string
  readonly port: number
  readonly directory: string
  readonly password: string
  readonly durable: boolean
}

function configuration({ bind, port, directory, password, durable }: Configuration): string {
  const lines = [
    `bind ${bind}`,
    `port ${port}`,
    `dir ${JSON.stringify(directory)}`,
    `requirepass ${password}`,
    'maxmemory-policy noeviction',
    'save ""',
    `appendonly ${durable ? 'yes' : 'no'}`,
    'appendfsync everysec',
    'daemonize no',
  ]
  return `${lines.join('\n')}\n`
}

const attempts = 5

type Listening = { readonly server: ServerProcess; readonly url: string; readonly port: number }

async function listen(
  wanted: number | undefined,
  start: (port: number) => Promise<Listening>,
): Promise<Listening> {
  for (let attempt = 1; ; attempt++) {
    const listening = await start(wanted ?? (await freePort()))
    const problem = await readiness(listening)
    if (problem === undefined) return listening
    await listening.server.stop()
    const output = await listening.server.tail()
    const taken =
      /address already in use|could not create server TCP listening socket|port is already allocated/i.test(
        output,
      )
    if (taken && wanted === undefined && attempt < attempts) continue
    if (taken && wanted !== undefined) {
      const owner = describePortOwner(await findPortOwner(wanted))
      throw new InfrastructureError(
        `Redis cannot listen on port ${wanted}: ${owner} does. Stop that, or choose another port.`,
        {
          code: 'ERR_INFRASTRUCTURE_PORT_IN_USE',
        },
      )
    }
    throw new InfrastructureError(`Redis did not start (${problem}):\n${output}`, {
      code: 'ERR_INFRASTRUCTURE_START_FAILED',
    })
  }
}

/** A large append-only file takes a while to load, and Docker may have to fetch its image. */
const startTimeout = 120_000

async function readiness({ server, url }: Listening): Promise<string | undefined> {
  const deadline = performance.now() + startTimeout
  let problem = 'it ended'
  while (server.running) {
    try {
      await pingRedis(url, 500)
      // Another process may have taken the port: then our server is about to end, and the other does not know the password.
      return server.running ? undefined : problem
    } catch (error) {
      problem = (error as Error).message
      if (performance.now() > deadline) return problem
    }
    await delay(10)
  }
  return problem
}
