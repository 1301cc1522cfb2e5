import { createTestHost } from '@quintet/core/testing'
import { Redis } from 'ioredis'
import { Pool } from 'pg'
import { relay } from '../../src/index.ts'

// A relay in a process of its own, which stays in the middle of its first batch until somebody ends it.
const [databaseUrl = '', redisUrl = '', list = '', role = ''] = process.argv.slice(2)
const redis = new Redis(redisUrl)
const pool = new Pool({ connectionString: databaseUrl, options: `-c role=${role}` })
let delivered = 0

await relay({
  pool,
  claimDuration: '1s',
  deliver: async ({ id }) => {
    if (delivered === 3) {
      process.send?.('in the middle')
      await new Promise(() => undefined)
    }
    await redis.rpush(list, id)
    delivered++
  },
}).start(createTestHost())
