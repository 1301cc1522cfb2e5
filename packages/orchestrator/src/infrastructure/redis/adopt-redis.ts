import { join } from 'node:path'
import { isRunning } from '../../processes/process-identity.ts'
import type { HeldServer } from '../held-server.ts'
import { adoptServerProcess } from '../server-process.ts'
import { pingRedis } from './redis-ping.ts'
import { redisServer, redisUrl, stopping, type RedisServer } from './start-redis.ts'

/**
 * Takes over a Redis that an earlier owner has left: it is the very process that was written down, and what listens on its
 * port knows the password. Undefined when any of this does not hold.
 */
export async function adoptRedis(
  directory: string,
  password: string,
  { identity, port, source }: HeldServer,
): Promise<RedisServer | undefined> {
  if (!isRunning(identity)) return undefined
  const url = redisUrl(password, port)
  try {
    await pingRedis(url, 2_000)
  } catch {
    return undefined
  }
  const server = adoptServerProcess(identity, { logFile: join(directory, 'redis.log'), ...stopping })
  return redisServer({ server, url, port, source: source as RedisServer['source'] })
}
