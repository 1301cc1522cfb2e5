import { createApp, defineProcess, defineSystem, overrides, silentLogger } from '@quintet/core'
import { secret } from '@quintet/core/zod'
import { redisUrl, until } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { openQueue } from '../../src/app.ts'
import { defineJob, worker, type Queue } from '../../src/index.ts'

it('serves those who add jobs and those who run them, and is closed with the process', async () => {
  const redis = new Redis(redisUrl())
  const prefix = `test-${crypto.randomUUID()}`
  const greet = defineJob('greet', { payload: z.string(), access: 'system' })
  const greeted: string[] = []
  const system = defineSystem({
    name: 'greeter',
    version: '1.0.0',
    config: {
      schema: z.strictObject({ secrets: z.strictObject({ jobs: secret({ minLength: 32 }) }) }),
      sources: [overrides({ secrets: { jobs: 'a-secret-of-more-than-32-characters!' } })],
    },
    setup: (context) => ({ jobs: openQueue(context, { client: () => redis }, { prefix }) }),
    processes: [
      {
        name: 'main',
        module: async () => ({
          default: defineProcess({
            workers: [
              worker(greet, { queue: ({ jobs }: { jobs: Queue }) => jobs }, ({ payload }) =>
                greeted.push(payload),
              ),
            ],
          }),
        }),
      },
    ],
  })
  const app = await createApp(system, { logger: silentLogger, env: {} })
  const { jobs } = app.services as { jobs: Queue }
  await jobs.enqueue(greet, 'hello')
  await until(() => greeted.length === 1)
  await app.stop()
  await expect(jobs.enqueue(greet, 'again')).rejects.toMatchObject({ code: 'ERR_QUEUE_CLOSED' })
  const keys = await redis.keys(`${prefix}:*`)
  if (keys.length > 0) await redis.del(...keys)
  redis.disconnect()
})
