import { testUser } from '@quintet/core/testing'
import { startPrivateRedis, until } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { createQueue, defineJob, queueRedisAcl, schedule, worker } from '../../src/index.ts'
import { createRig, secret } from './rig.ts'

const alice = testUser({ tenantId: 'tenant-a' })
const job = defineJob('echo', { payload: z.string(), attempts: 2, backoff: 1 })
const sweep = defineJob('sweep', { payload: z.string(), access: 'system' })

let server: Awaited<ReturnType<typeof startPrivateRedis>>
let admin: Redis
let jobs: Redis
beforeAll(async () => {
  server = await startPrivateRedis()
  admin = new Redis(server.url)
  await admin.call('ACL', 'SETUSER', 'jobs', 'reset', 'on', '>password', ...queueRedisAcl())
  await admin.set('other', 'secret')
  const url = new URL(server.url)
  url.username = 'jobs'
  url.password = 'password'
  jobs = new Redis(url.href)
  jobs.on('error', () => undefined)
})
afterAll(async () => {
  jobs.disconnect()
  admin.disconnect()
  await server[Symbol.asyncDispose]()
})

describe('a Redis user with the rights of queueRedisAcl', () => {
  it('adds, runs, schedules, counts, replays, signs again and removes jobs', async () => {
    await using rig = createRig()
    const queue = createQueue({ connection: jobs, secret })
    const seen: string[] = []
    let broken = true
    const running = [
      worker(job, { queue, lockDuration: '1s' }, ({ payload }) => {
        if (broken) throw new Error('not now')
        seen.push(payload)
      }),
      worker(sweep, { queue }, ({ payload }) => void seen.push(payload)),
      schedule(sweep, { queue, every: '100ms', payload: 'tick' }),
    ].map((transport) => rig.start(transport))
    const started = await Promise.all(running)
    for (const text of ['a', 'b']) await queue.enqueue(job, text, { principal: alice, idempotencyKey: text })
    await queue.enqueue(job, 'later', { principal: alice, delay: '100ms' })
    await until(async () => (await queue.counts(job)).dead === 3)
    await until(() => seen.includes('tick'))
    const next = createQueue({ connection: jobs, secret: ['another-secret-of-more-than-32-chars', secret] })
    expect(await next.resign(job)).toMatchObject({ resigned: 3 })
    const [letter] = await queue.deadLetters(job)
    await queue.removeDeadLetter(job, letter?.id ?? '')
    broken = false
    await until(async () => (await next.countsByKey(job))[next.signer.keyId] === 2)
    for (const each of started) await each.close()
    await rig.start(worker(job, { queue: next }, ({ payload }) => void seen.push(payload)))
    expect(await next.replayAll(job)).toBe(2)
    await until(() => seen.filter((text) => text !== 'tick').length === 2)
    await queue.close()
    await next.close()
    const refused = (await admin.call('ACL', 'LOG')) as unknown[]
    expect(refused).toEqual([])
  })

  it.each([
    ['GET', 'other'],
    ['SET', 'other', 'x'],
    ['EVAL', `return redis.call('GET', 'other')`, '0'],
    ['KEYS', '*'],
    ['SCAN', '0'],
    ['RANDOMKEY'],
    ['FLUSHALL'],
    ['CONFIG', 'GET', '*'],
    ['ACL', 'LIST'],
    ['CLIENT', 'LIST'],
    ['SHUTDOWN'],
    ['PUBLISH', 'x', 'y'],
  ])('may not %s %s', async (command, ...values) => {
    await expect(jobs.call(command, ...values)).rejects.toThrow(/NOPERM|permissions|can't access/)
  })

  it('refuses a prefix that is a pattern', () => {
    expect(() => queueRedisAcl({ prefix: '*' })).toThrow('queueRedisAcl.prefix')
    expect(() => queueRedisAcl({ prefx: 'x' } as never)).toThrow('Did you mean "prefix"?')
  })
})
