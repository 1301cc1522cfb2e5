import { mkdir, mkdtemp, readFile, rm, chmod } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { cacheDirectory } from '../cache-directory.ts'
import type { Environment } from '../environment.ts'
import { InfrastructureError } from '../errors.ts'
import { assertDatabaseReachable } from './external-postgres.ts'
import { externalServer } from '../external-server.ts'
import { freePort } from '../../processes/free-port.ts'
import { describePortOwner, findPortOwner } from '../../processes/port-owner.ts'
import { preparePostgresBinaries } from './postgres-binaries.ts'
import { preparePostgresData } from './postgres-data.ts'
import { clearStalePostmaster } from './postmaster-pid.ts'
import { assertReachable, isRoot, serverUser } from '../server-user.ts'
import { startServerProcess, type ServerProcess, type ServerProcessOptions } from '../server-process.ts'

export interface PostgresOptions {
  /** Where its data lives from run to run. @defaultValue a temporary folder that is removed with the server */
  readonly directory?: string
  /** On 127.0.0.1. @defaultValue a free one */
  readonly port?: number
  /** `false` for tests: faster, and a power failure may lose everything. @defaultValue true */
  readonly durable?: boolean
  /** It goes on when this process is killed. Not with a temporary folder. @defaultValue false */
  readonly outlives?: boolean
  /** Where `DATABASE_URL`, `QUINTET_CACHE_DIRECTORY` and `PATH` are read. @defaultValue `process.env` */
  readonly env?: Environment
  /** Told what is going on, in words, when it takes a while. */
  readonly onProgress?: (message: string) => void
}

export interface PostgresServer extends AsyncDisposable {
  /** Of the superuser. */
  readonly url: string
  readonly port: number
  /** Undefined for a server that `DATABASE_URL` names. */
  readonly pid: number | undefined
  /** `external`: named by `DATABASE_URL`, not ours to stop. */
  readonly source: 'embedded' | 'external'
  /** Resolves when the server has ended, whoever ended it; never for an external one. */
  readonly ended: Promise<void>
  /** Ends every connection and the server. Idempotent. */
  stop(): Promise<void>
}

/**
 * Gives a real PostgreSQL: the one that `DATABASE_URL` names, or a private PostgreSQL 18 on 127.0.0.1 with a random
 * password (scram), without a unix socket. It does not outlive this process, however that ends.
 *
 * @throws InfrastructureError when none can be had, started or reached.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<PostgresServer> {
  const env = options.env ?? process.env
  const external = env['DATABASE_URL']
  if (external) {
    await assertDatabaseReachable(external)
    return externalServer(external, 5432)
  }

  const user = serverUser()
  const cache = cacheDirectory(env)
  await makeFolder(cache, 0o755)
  assertReachable(user, cache)
  options.onProgress?.('Preparing PostgreSQL')
  const binaries = await preparePostgresBinaries(cache)

  const temporary = options.directory === undefined
  const directory = temporary
    ? await mkdtemp(join(tmpdir(), 'quintet-postgres-'))
    : resolve(options.directory as string)
  await makeFolder(directory, 0o700)
  // Another user's server must get through to its data, which only that user can read.
  if (user) await chmod(directory, 0o711)
  const durable = options.durable ?? true
  try {
    assertReachable(user, directory)
    const password = await preparePostgresData({ binaries, user, env, directory, durable })
    const data = join(directory, 'data')
    await clearStalePostmaster(data)
    options.onProgress?.('Starting PostgreSQL')
    const { server, port } = await listen(
      options.port,
      async (candidate) => ({
        port: candidate,
        server: await startServerProcess({
          name: 'PostgreSQL',
          command: binaries.postgres,
          args: serverArguments(data, candidate, durable),
          cwd: '/',
          env,
          user,
          logFile: join(directory, 'postgres.log'),
          ...stopping,
          // What is thrown away anyway needs no checkpoint.
          ...(temporary ? { stopSignal: 'QUIT' } : {}),
          removeDirectory: temporary ? directory : undefined,
          outlives: !temporary && (options.outlives ?? false),
        }),
      }),
      data,
    )
    return postgresServer({
      server,
      port,
      password,
      released: async () => void (temporary && (await rm(directory, { recursive: true, force: true }))),
    })
  } catch (error) {
    if (temporary) await rm(directory, { recursive: true, force: true })
    throw error
  }
}

/** SIGINT ends sessions and checkpoints. */
export const stopping: Pick<ServerProcessOptions, 'stopSignal' | 'stopTimeout'> = Object.freeze({
  stopSignal: 'INT',
  stopTimeout: 15_000,
})

interface PostgresParts {
  readonly server: ServerProcess
  readonly port: number
  readonly password: string
  readonly released?: () => Promise<void>
}

export function postgresServer({ server, port, password, released }: PostgresParts): PostgresServer {
  const stop = async (): Promise<void> => {
    await server.stop()
    await released?.()
  }
  return {
    url: `postgres://postgres:${password}@127.0.0.1:${port}/postgres`,
    port,
    pid: server.pid,
    source: 'embedded',
    ended: server.ended,
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

function serverArguments(data: string, port: number, durable: boolean): string[] {
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: '',
    max_connections: 200,
    ...(durable
      ? {}
      : {
          fsync: 'off',
          synchronous_commit: 'off',
          full_page_writes: 'off',
          wal_level: 'minimal',
          max_wal_senders: 0,
        }),
  }
  return ['-D', data, ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])]
}

const attempts = 5

type Listening = { readonly server: ServerProcess; readonly port: number }

/** Starts it on the given port, or on free ones until one was still free when the server took it. */
async function listen(
  wanted: number | undefined,
  start: (port: number) => Promise<Listening>,
  data: string,
): Promise<Listening> {
  for (let attempt = 1; ; attempt++) {
    const listening = await start(wanted ?? (await freePort()))
    if (await isReady(listening.server, data)) return listening
    const output = await listening.server.tail()
    const taken = /could not bind|Address already in use/i.test(output)
    if (taken && wanted === undefined && attempt < attempts) continue
    if (taken && wanted !== undefined) {
      const owner = describePortOwner(await findPortOwner(wanted))
      throw new InfrastructureError(
        `PostgreSQL cannot listen on port ${wanted}: ${owner} does. Stop that, or choose another port.`,
        {
          code: 'ERR_INFRASTRUCTURE_PORT_IN_USE',
        },
      )
    }
    throw new InfrastructureError(`PostgreSQL did not start:\n${output}`, {
      code: 'ERR_INFRASTRUCTURE_START_FAILED',
    })
  }
}

/** The postmaster writes its state into the last line of its pid file. False when it ended instead. */
async function isReady(server: ServerProcess, data: string): Promise<boolean> {
  while (server.running) {
    const text = await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')
    const lines = text.split('\n')
    if (Number(lines[0]) === server.pid && lines[7]?.trim() === 'ready') return true
    await delay(5)
  }
  return false
}

async function makeFolder(path: string, mode: number): Promise<void> {
  try {
    await mkdir(path, { recursive: true, mode })
  } catch (cause) {
    const hint = isRoot() ? '' : ' Check who owns it, or choose another folder.'
    throw new InfrastructureError(`The folder ${path} cannot be made: ${(cause as Error).message}.${hint}`, {
      code: 'ERR_INFRASTRUCTURE_DATA_DIRECTORY',
      cause,
    })
  }
}
