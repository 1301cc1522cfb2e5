import type { RealtimeRedis } from './redis-port.ts'
import type { TopicKeys } from './topic-keys.ts'

// A hash: connection -> '<expiry in ms> <user>'. Connections of instances that died run out, and the next sign of
// life of any other clears them away. Users who come or go are told on the feed.
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
  if op == 'touch' then
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
return users
`

/** One connection of a user on a channel. */
export interface Member {
  readonly connection: string
  readonly user: string
}

/** Says that these connections are here, until the time to live is over. Answers with all users present. */
export function touchMembers(
  redis: RealtimeRedis,
  keys: TopicKeys,
  ttl: number,
  members: readonly Member[],
): Promise<string[]> {
  return run(redis, 'touch', keys, ttl, members)
}

/** Says that these connections have left. */
export function removeMembers(
  redis: RealtimeRedis,
  keys: TopicKeys,
  ttl: number,
  members: readonly Member[],
): Promise<string[]> {
  return run(redis, 'leave', keys, ttl, members)
}

async function run(
  redis: RealtimeRedis,
  operation: string,
  keys: TopicKeys,
  ttl: number,
  members: readonly Member[],
): Promise<string[]> {
  const pairs = members.flatMap(({ connection, user }) => [connection, user])
  const users = (await redis.eval(
    script,
    1,
    keys.presence,
    operation,
    Math.ceil(ttl),
    keys.feed,
    ...pairs,
  )) as unknown[]
  return users.map(String).toSorted()
}
