import type { RealtimeRedis } from './redis-port.ts'
import { runScript } from './run-script.ts'
import type { TopicKeys } from './topic-keys.ts'

// A hash: member -> '<expiry in ms> <user>'. Members of instances that died run out, and the next sign of
// life of any other clears them away. Users who come or go are told on the feed; operation 'sync' tells all who are here,
// in their order with the others, so that instances that have missed some can compare.
const script = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local op, ttl, feed = ARGV[1], tonumber(ARGV[2]), ARGV[3]
local here, gone = {}, {}
local all = redis.call('HGETALL', KEYS[1])
for i = 1, #all, 2 do
  local expiry, user = string.match(all[i + 1], '^(%d+) (.*)$')
  if tonumber(expiry) <= now then
    redis.call('HDEL', KEYS[1], all[i])
    gone[user] = true
  else
    here[user] = (here[user] or 0) + 1
  end
end
for i = 4, #ARGV, 2 do
  local connection, user = ARGV[i], ARGV[i + 1]
  local known = redis.call('HEXISTS', KEYS[1], connection) == 1
  if op ~= 'leave' then
    redis.call('HSET', KEYS[1], connection, string.format('%.0f %s', now + ttl, user))
    if not known then
      if not here[user] and not gone[user] then redis.call('PUBLISH', feed, 'p\\njoin\\n' .. user) end
      here[user] = (here[user] or 0) + 1
    end
  elseif known then
    redis.call('HDEL', KEYS[1], connection)
    here[user] = (here[user] or 1) - 1
    if here[user] <= 0 then
      here[user] = nil
      gone[user] = true
    end
  end
end
for user in pairs(gone) do
  if not here[user] then redis.call('PUBLISH', feed, 'p\\nleave\\n' .. user) end
end
redis.call('PEXPIRE', KEYS[1], ttl * 2)
local users = {}
for user in pairs(here) do users[#users + 1] = user end
if op == 'sync' then redis.call('PUBLISH', feed, 's\\n' .. (#users == 0 and '[]' or cjson.encode(users))) end
return users
`

/** One subscription of a user to a channel. */
export interface Member {
  readonly id: string
  readonly user: string
}

/** What is told of members: that they are here, the same and that all instances are to compare, or that they have left. */
export type PresenceOperation = 'touch' | 'sync' | 'leave'

/**
 * Tells of members of a channel; they count as present until the time to live is over. Answers with all users present.
 *
 * @throws RealtimeError `ERR_REALTIME_UNAVAILABLE`
 */
export async function updatePresence(
  redis: RealtimeRedis,
  operation: PresenceOperation,
  keys: TopicKeys,
  ttl: number,
  members: readonly Member[],
): Promise<string[]> {
  const pairs = members.flatMap(({ id, user }) => [id, user])
  const values = [operation, Math.ceil(ttl), keys.feed, ...pairs]
  const users = await runScript(redis, script, [keys.presence], values)
  return users.map(String).toSorted()
}
