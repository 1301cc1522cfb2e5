import { createScript } from '../commands/script.ts'
import type { Script } from '../commands/script.ts'

/** How long the last token of a lock is remembered: longer than a clock is ever put back. */
const tokenTtl = 7 * 24 * 60 * 60 * 1_000

/**
 * KEYS lock, token; ARGV owner, ttl. Returns the fencing token as text, or nil when the lock is held.
 *
 * The token is the time in microseconds, or one more than the last: it grows although the counter may be lost.
 */
export const acquireLock: Script = createScript(`
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return false end
local time = redis.call('TIME')
local last = tonumber(redis.call('GET', KEYS[2]) or 0) or 0
local token = string.format('%.0f', math.max(last + 1, time[1] * 1000000 + time[2]))
redis.call('SET', KEYS[2], token, 'PX', ${tokenTtl})
return token
`)

/** KEYS lock; ARGV owner, ttl. Returns 1, or 0 when the lock is not the owner's. */
export const renewLock: Script = createScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`)

/** KEYS lock; ARGV owner. Returns 1, or 0 when the lock is not the owner's. */
export const releaseLock: Script = createScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
`)
