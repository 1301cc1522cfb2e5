import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startRedis } from '../../../src/infrastructure.ts'
import { findOnPath } from '../../../src/infrastructure/redis/redis-command.ts'
import { pingRedis } from '../../../src/infrastructure/redis/redis-ping.ts'

const env = { PATH: process.env['PATH'], HOME: process.env['HOME'] }
let scratch: string

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'quintet-infrastructure-test-'))
  await chmod(scratch, 0o755)
})
afterAll(() => rm(scratch, { recursive: true, force: true }))

async function withClient<T>(url: string, use: (client: Redis) => Promise<T>): Promise<T> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: null, protocol: 2 })
  client.on('error', () => undefined)
  try {
    await client.connect()
    return await use(client)
  } finally {
    client.disconnect()
  }
}

describe('startRedis', () => {
  it('starts a private server with a password, noeviction and nothing on disk', async () => {
    await using server = await startRedis({ env })
    expect(server.source).toBe('path')
    const settings = await withClient(server.url, async (client) => [
      ...((await client.config('GET', 'maxmemory-policy')) as string[]),
      ...((await client.config('GET', 'bind')) as string[]),
      ...((await client.config('GET', 'appendonly')) as string[]),
    ])
    expect(settings).toEqual(['maxmemory-policy', 'noeviction', 'bind', '127.0.0.1', 'appendonly', 'no'])
    const naked = new URL(server.url)
    naked.password = ''
    await expect(pingRedis(naked.href, 1_000)).rejects.toThrow(/NOAUTH/)
  })

  it('keeps its data in a folder from run to run', async () => {
    const directory = join(scratch, 'kept')
    const first = await startRedis({ directory, env })
    await withClient(first.url, (client) => client.set('answer', '42'))
    await first.stop()
    await using second = await startRedis({ directory, env })
    expect(await withClient(second.url, (client) => client.get('answer'))).toBe('42')
  })

  it('says who has the port that it was to take', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    await expect(startRedis({ port, env })).rejects.toMatchObject({
      code: 'ERR_INFRASTRUCTURE_PORT_IN_USE',
      message: expect.stringContaining(`pid ${process.pid} (`) as string,
    })
    other.close()
  })

  it('finds valkey-server where there is no redis-server', async () => {
    const bin = join(scratch, 'bin')
    await mkdir(bin)
    await writeFile(join(bin, 'valkey-server'), '#!/bin/sh\nexec redis-server "$@"\n', { mode: 0o755 })
    expect(findOnPath(['redis-server', 'valkey-server'], { PATH: bin })).toBe(join(bin, 'valkey-server'))
  })

  it('gives the command to type when there is no Redis to be had', async () => {
    const failure = startRedis({ env: { PATH: join(scratch, 'nowhere') } })
    await expect(failure).rejects.toMatchObject({ code: 'ERR_INFRASTRUCTURE_NOT_AVAILABLE' })
    await expect(failure).rejects.toThrow(/Type: .*redis|Install redis-server/)
  })

  it.runIf(process.getuid?.() === 0)(
    'installs one with apt-get, updates the lists when that fails, and reports progress',
    async () => {
      const bin = join(scratch, 'apt')
      await mkdir(bin)
      await chmod(bin, 0o755)
      // An apt-get that knows no packages until it has been updated, and then brings the real server.
      const apt = `#!/bin/sh
case "$*" in
  *update*) touch ${bin}/updated; echo "Get:1 http://mirror stable InRelease" ;;
  *redis-server*) [ -e ${bin}/updated ] || { echo "E: Unable to locate package"; exit 100; }
    echo "Setting up redis-server"; printf '#!/bin/sh\\nexec /usr/bin/redis-server "$@"\\n' > ${bin}/redis-server; chmod 755 ${bin}/redis-server ;;
esac`
      await writeFile(join(bin, 'apt-get'), apt, { mode: 0o755 })
      for (const tool of ['touch', 'chmod', 'rm', 'id'])
        await writeFile(
          join(bin, tool),
          `#!/bin/sh\nexec /bin/${tool === 'id' ? '../usr/bin/id' : tool} "$@"\n`,
          { mode: 0o755 },
        )
      const progress: string[] = []
      await using server = await startRedis({
        env: { PATH: bin },
        onProgress: (message) => progress.push(message),
      })
      expect(server.source).toBe('installed')
      expect(progress).toContain('Installing redis-server with apt-get')
      expect(progress).toContain('apt-get: Setting up redis-server')
    },
  )

  it('uses the server that REDIS_URL names, and leaves it running', async () => {
    await using own = await startRedis({ env })
    const external = await startRedis({ env: { REDIS_URL: own.url } })
    expect(external).toMatchObject({ source: 'external', pid: undefined })
    await external.stop()
    expect(await withClient(own.url, (client) => client.ping())).toBe('PONG')
  })

  it('reports a REDIS_URL with a wrong password, without printing it', async () => {
    await using own = await startRedis({ env })
    const wrong = new URL(own.url)
    wrong.password = 'hidden'
    const failure = startRedis({ env: { REDIS_URL: wrong.href } })
    await expect(failure).rejects.toThrow(/REDIS_URL: 127\.0\.0\.1:\d+ cannot be used \(WRONGPASS/)
    await expect(failure).rejects.not.toThrow(/hidden/)
  })
})
