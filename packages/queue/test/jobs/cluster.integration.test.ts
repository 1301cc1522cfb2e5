import { startPrivateRedis, until } from '@quintet/test-kit'
import { Cluster, Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createQueue, defineJob, schedule, worker } from '../../src/index.ts'
import { createRig, secret } from './rig.ts'

let server: Awaited<ReturnType<typeof startPrivateRedis>>
let cluster: Cluster
beforeAll(async () => {
  server = await startPrivateRedis({
    args: ['--cluster-enabled', 'yes', '--cluster-announce-ip', '127.0.0.1'],
  })
  const node = new Redis(server.url)
  await node.cluster('ADDSLOTS', ...Array.from({ length: 16_384 }, (_, slot) => slot))
  await until(async () => String(await node.cluster('INFO')).includes('cluster_state:ok'))
  node.disconnect()
  cluster = new Cluster([server.url])
  cluster.on('error', () => undefined)
})
afterAll(async () => {
  cluster.disconnect()
  await server[Symbol.asyncDispose]()
})

describe('a Redis Cluster', () => {
  it('refuses a prefix that spreads the keys of a queue over its slots', () => {
    expect(() => createQueue({ connection: cluster, secret })).toThrow(
      'createQueue: prefix "quintet" needs a hash tag such as "{quintet}" on a cluster',
    )
  })

  it('takes jobs and schedules under a prefix with a hash tag, and its workers run and close', async () => {
    await using rig = createRig()
    const queue = createQueue({ connection: cluster, secret, prefix: '{quintet}' })
    const job = defineJob('echo', { payload: z.string(), access: 'system' })
    const sweep = defineJob('sweep', { payload: z.string(), access: 'system' })
    const seen: string[] = []
    const running = await rig.start(worker(job, { queue }, ({ payload }) => void seen.push(payload)))
    await rig.start(worker(sweep, { queue }, ({ payload }) => void seen.push(payload)))
    await rig.start(schedule(sweep, { queue, every: '100ms', payload: 'tick' }))
    await queue.enqueue(job, 'x', { idempotencyKey: 'k' })
    await until(() => seen.includes('x') && seen.includes('tick'))
    await running.close()
    expect(await queue.counts(job)).toMatchObject({ completed: 1 })
    await queue.close()
  })
})
