import { spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, startPrivateRedis, until } from '@quintet/test-kit'
import type { PrivateRedis, PrivateRedisOptions } from '@quintet/test-kit'
import type { Certificate } from './certificate.ts'
import { plainClient } from './servers.ts'

/** A cluster of one node that serves all slots. */
export async function startClusterNode(): Promise<PrivateRedis> {
  const node = await startPrivateRedis({ args: await clusterArguments() })
  await using client = plainClient(node.url, 0)
  await client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await until(async () => String(await client.cluster('INFO')).includes('cluster_state:ok'))
  return node
}

/** The same, which takes connections by TLS too and announces itself as `localhost` and its TLS port. */
export async function startTlsClusterNode(
  certificate: Certificate,
): Promise<AsyncDisposable & { readonly tlsPort: number }> {
  await using starting = new AsyncDisposableStack()
  const tlsPort = await freePort()
  const args = [
    ...(await clusterArguments()),
    ...['--tls-port', String(tlsPort), '--tls-cluster', 'yes', '--tls-auth-clients', 'no'],
    ...['--tls-cert-file', certificate.certFile, '--tls-key-file', certificate.keyFile],
    ...['--tls-ca-cert-file', certificate.certFile],
    ...['--cluster-announce-hostname', 'localhost', '--cluster-preferred-endpoint-type', 'hostname'],
  ]
  const node = starting.use(await startPrivateRedis({ args }))
  await using client = plainClient(node.url, 0)
  await client.call('CLUSTER', 'ADDSLOTSRANGE', '0', '16383')
  await until(async () => String(await client.cluster('INFO')).includes('cluster_state:ok'))
  const held = starting.move()
  return { tlsPort, [Symbol.asyncDispose]: () => held.disposeAsync() }
}

/** Three masters with a third of the slots each, and a replica of the first. */
export async function startCluster(): Promise<
  { readonly masters: readonly PrivateRedis[]; readonly replica: PrivateRedis } & AsyncDisposable
> {
  await using starting = new AsyncDisposableStack()
  await using admins = new AsyncDisposableStack()
  const nodes = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const args = await clusterArguments()
      const server = await startPrivateRedis({ args })
      return { server, bus: String(args.at(-1)), admin: plainClient(server.url, 0) }
    }),
  )
  for (const { server, admin } of nodes) {
    starting.use(server)
    admins.use(admin)
  }
  const [first, second, third, fourth] = nodes
  if (first === undefined || second === undefined || third === undefined || fourth === undefined)
    throw new Error('unreachable')
  for (const { server, bus } of [second, third, fourth])
    await first.admin.call('CLUSTER', 'MEET', '127.0.0.1', String(server.port), bus)
  await first.admin.call('CLUSTER', 'ADDSLOTSRANGE', '0', '5460')
  await second.admin.call('CLUSTER', 'ADDSLOTSRANGE', '5461', '10922')
  await third.admin.call('CLUSTER', 'ADDSLOTSRANGE', '10923', '16383')
  const id = String(await first.admin.call('CLUSTER', 'MYID'))
  await until(async () => (await fourth.admin.call('CLUSTER', 'REPLICATE', id)) === 'OK')
  for (const { admin } of nodes)
    await until(async () => String(await admin.cluster('INFO')).includes('cluster_state:ok'))
  await until(async () => /slave0:.*state=online/.test(await first.admin.info('replication')))
  await until(async () => String(await second.admin.cluster('NODES')).includes(`slave ${id}`))
  const servers = starting.move()
  return {
    masters: [first.server, second.server, third.server],
    replica: fourth.server,
    [Symbol.asyncDispose]: () => servers.disposeAsync(),
  }
}

/** The port of the bus is the last: the default, ten thousand above that of the server, may not exist. */
async function clusterArguments(): Promise<string[]> {
  const bus = String(await freePort())
  const announced = ['--cluster-announce-ip', '127.0.0.1', '--cluster-node-timeout', '1500']
  return ['--cluster-enabled', 'yes', ...announced, '--cluster-port', bus]
}

/** A master and a replica of it. */
export async function startReplicated(
  start: (options?: PrivateRedisOptions) => Promise<PrivateRedis> = startPrivateRedis,
): Promise<{ readonly master: PrivateRedis; readonly replica: PrivateRedis } & AsyncDisposable> {
  await using starting = new AsyncDisposableStack()
  const master = starting.use(await start())
  const replica = starting.use(await start({ args: ['--replicaof', '127.0.0.1', String(master.port)] }))
  await using client = plainClient(master.url, 0)
  await until(async () => /slave0:.*state=online/.test(await client.info('replication')))
  const servers = starting.move()
  return { master, replica, [Symbol.asyncDispose]: () => servers.disposeAsync() }
}

/** A sentinel that watches the master and replaces it soon after it is gone. */
export async function startSentinel(
  masterPort: number,
  binary = process.env['QUINTET_REDIS_SERVER'] ?? 'redis-server',
): Promise<{ port: number } & AsyncDisposable> {
  const directory = await mkdtemp(join(tmpdir(), 'quintet-sentinel-'))
  const port = await freePort()
  const config = join(directory, 'sentinel.conf')
  await writeFile(
    config,
    [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${directory}`,
      `sentinel monitor main 127.0.0.1 ${masterPort} 1`,
      'sentinel down-after-milliseconds main 300',
      'sentinel failover-timeout main 3000',
    ].join('\n'),
  )
  const child = spawn(binary, [config, '--sentinel'], { stdio: 'ignore' })
  await using client = plainClient(`redis://127.0.0.1:${port}`, 0)
  await until(async () => String(await client.call('SENTINEL', 'MASTER', 'main')).includes('num-slaves,1'))
  return {
    port,
    async [Symbol.asyncDispose]() {
      const exited = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await exited
      await rm(directory, { recursive: true, force: true })
    },
  }
}
