import type { History } from '../channel/history.ts'
import type { RealtimeRedis } from './redis-port.ts'
import { runScript } from './run-script.ts'
import { historyIndex, topicKeys, type TopicKeys } from './topic-keys.ts'

/** How often a channel that is in use is noted, in milliseconds. */
const noteInterval = 60 * 60 * 1_000
/** So many channels are remembered as noted; beyond, all are noted once more. */
const mostNoted = 10_000

/** When each channel was noted, by the client with which it was. */
const noted = new WeakMap<RealtimeRedis, Map<string, number>>()

// A member of the sorted set is a channel, its score the time until which it may have a history.
const noteScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
redis.call('ZADD', KEYS[1], 'GT', now + ARGV[2], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[2]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return {}`

const listScript = `return redis.call('ZRANGE', KEYS[1], 0, -1)`
const forgetIndexScript = `redis.call('DEL', KEYS[1]) return {}`

// The position stays, so that who comes back is told that events are missing. The history is read in pieces, so that not all of it is held in memory.
const eraseScript = `
local found, from = ARGV[1] == '', '-'
while not found do
  local entries = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 32)
  if #entries == 0 then break end
  for _, entry in ipairs(entries) do
    if string.find(entry[2][2], ARGV[1], 1, true) then found = true end
    from = '(' .. entry[1]
  end
end
return {found and redis.call('DEL', KEYS[1]) or 0}`

/** Notes that a channel has a history, unless that is known. */
export async function noteHistory(
  redis: RealtimeRedis,
  { index, channel, events }: TopicKeys,
  history: History,
  again = false,
): Promise<void> {
  if (history.length === 0) return
  const known = noted.get(redis) ?? new Map<string, number>()
  noted.set(redis, known)
  const now = performance.now()
  if (!again && now - (known.get(events) ?? -Infinity) < noteInterval) return
  await runScript(redis, noteScript, [index], [channel, Math.ceil(history.maxAge) + 2 * noteInterval])
  if (known.size >= mostNoted) known.clear()
  known.set(events, now)
}

/**
 * Erases the histories of a tenant's channels: of those whose name or one of whose events contains the text, or of all.
 *
 * @returns how many.
 */
export async function eraseHistories(
  redis: RealtimeRedis,
  prefix: string,
  tenantId: string | null,
  containing = '',
): Promise<number> {
  const index = historyIndex(prefix, tenantId)
  let erased = 0
  for (const channel of (await runScript(redis, listScript, [index], [])) as readonly string[]) {
    const { events } = topicKeys(redis, prefix, tenantId, channel)
    const [gone] = await runScript(
      redis,
      eraseScript,
      [events],
      [channel.includes(containing) ? '' : containing],
    )
    erased += Number(gone)
  }
  // What was noted since is noted again with its next event that begins a history.
  if (containing === '') await runScript(redis, forgetIndexScript, [index], [])
  return erased
}
