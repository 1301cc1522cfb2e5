import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { freePort, startPrivateRedis, until } from '@quintet/test-kit'
import { connect } from './redis.ts'

/** A primary with one replica, and a sentinel that lets the replica take over soon after the primary is gone. */
export interface FailoverPair extends AsyncDisposable {
  /** A client that asks the sentinel where the primary is. */
  client(): Redis
  /** Waits until the replica has what was written. */
  replicated(): Promise<void>
  killPrimary(): Promise<void>
}

export async function startFailoverPair(): Promise<FailoverPair> {
  await using starting = new AsyncDisposableStack()
  const primary = starting.use(await startPrivateRedis())
  starting.use(await startPrivateRedis({ args: ['--replicaof', '127.0.0.1', String(primary.port)] }))
  const admin = connect(primary.url)
  starting.defer(() => admin.disconnect())
  await until(async () => /slave0:.*state=online/.test(await admin.info('replication')))
  const directory = await mkdtemp(join(tmpdir(), 'quintet-sentinel-'))
  const port = await freePort()
  const config = join(directory, 'sentinel.conf')
  const lines = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${directory}`,
    `sentinel monitor main 127.0.0.1 ${primary.port} 1`,
    'sentinel down-after-milliseconds main 300',
    'sentinel failover-timeout main 3000',
  ]
  await writeFile(config, lines.join('\n'))
  const binary = process.env['QUINTET_REDIS_SERVER'] ?? 'redis-server'
  const child = spawn(binary, [config, '--sentinel'], { stdio: 'ignore' })
  starting.defer(async () => {
    const exited = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await exited
    await rm(directory, { recursive: true, force: true })
  })
  const sentinel = connect(`redis://127.0.0.1:${port}`)
  starting.defer(() => sentinel.disconnect())
  await until(async () => String(await sentinel.call('SENTINEL', 'MASTER', 'main')).includes('num-slaves,1'))
  const all = starting.move()
  return {
    client() {
      const client = new Redis({
        sentinels: [{ host: '127.0.0.1', port }],
        name: 'main',
        role: 'master',
        maxRetriesPerRequest: 0,
        retryStrategy: () => 20,
        sentinelRetryStrategy: () => 20,
      })
      client.on('error', () => undefined)
      return client
    },
    async replicated() {
      await until(async () => (await admin.wait(1, 1_000)) === 1)
    },
    killPrimary: () => primary.kill(),
    [Symbol.asyncDispose]: () => all.disposeAsync(),
  }
}
