import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { freePort } from './free-port.ts'
import { until } from './until.ts'

/** The URL of the Redis server of this test run. Others use it too: keep to keys with a prefix of your own. */
export function redisUrl(): string {
  const value = process.env['REDIS_URL']
  if (value) return value
  throw new Error(
    'REDIS_URL is not set. Run the tests through vitest at the root, whose global setup starts the servers.',
  )
}

export interface PrivateRedisOptions {
  /** Further arguments of redis-server, e.g. `['--maxmemory', '2mb']`. */
  readonly args?: readonly string[]
  /** The program. @defaultValue `QUINTET_REDIS_SERVER`, or `redis-server` */
  readonly binary?: string
}

/** A Redis server of one test alone, to be hurt. */
export interface PrivateRedis extends AsyncDisposable {
  readonly url: string
  readonly port: number
  readonly pid: number
  /** Stops the scheduler for it (SIGSTOP): connections stay open and nothing answers. */
  freeze(): void
  thaw(): void
  kill(): Promise<void>
  /** Starts it again, empty, on the same port. */
  restart(): Promise<void>
  stop(): Promise<void>
}

export async function startPrivateRedis(options: PrivateRedisOptions = {}): Promise<PrivateRedis> {
  const binary = options.binary ?? process.env['QUINTET_REDIS_SERVER'] ?? 'redis-server'
  const directory = await mkdtemp(join(tmpdir(), 'quintet-redis-'))
  const port = await freePort()
  const url = `redis://127.0.0.1:${port}`
  let child: ChildProcess

  const start = async (): Promise<void> => {
    child = spawn(
      binary,
      [
        '--port',
        String(port),
        '--bind',
        '127.0.0.1',
        '--dir',
        directory,
        '--save',
        '',
        '--appendonly',
        'no',
        ...(options.args ?? []),
      ],
      { stdio: 'ignore' },
    )
    const exited = new Promise<never>((_, reject) => {
      child.once('error', reject)
      child.once('exit', (code) => reject(new Error(`redis-server ended with code ${code} while starting`)))
    })
    exited.catch(() => undefined)
    await Promise.race([exited, until(() => answers(url))])
  }
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const exited = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await exited
  }
  const stop = async (): Promise<void> => {
    await kill()
    await rm(directory, { recursive: true, force: true })
  }

  await start()
  return {
    url,
    port,
    get pid() {
      return child.pid ?? -1
    },
    freeze: () => void child.kill('SIGSTOP'),
    thaw: () => void child.kill('SIGCONT'),
    kill,
    async restart() {
      await kill()
      await start()
    },
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

async function answers(url: string): Promise<boolean> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: null, connectTimeout: 500, protocol: 2 })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return (await client.ping()) === 'PONG'
  } finally {
    client.disconnect()
  }
}
