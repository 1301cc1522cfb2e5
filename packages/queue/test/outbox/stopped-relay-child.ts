import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { createTestHost } from '@quintet/core/testing'
import { Redis } from 'ioredis'
import { Pool } from 'pg'
import { relay } from '../../src/index.ts'

// A relay in a process of its own, whose first delivery lasts until it was told to go on and has lost its claim.
const [databaseUrl = '', redisUrl = '', list = '', role = ''] = process.argv.slice(2)
const redis = new Redis(redisUrl)
const pool = new Pool({ connectionString: databaseUrl, options: `-c role=${role}` })
pool.on('error', () => undefined)
const goOn = once(process, 'message')

await relay({
  pool,
  claimDuration: '1s',
  timeout: '60s',
  deliver: async ({ payload }, { signal }) => {
    await redis.rpush(list, String(payload))
    process.send?.('delivering')
    await goOn
    if (payload === 1) await delay(20_000, undefined, { signal }).catch(() => undefined)
    await redis.rpush(list, `end ${String(payload)}`)
  },
}).start(createTestHost())
