import { defineScript, type SessionScript } from './session-redis.ts'

/*
 * Every script takes the time as its first argument: 0 for the clock of Redis, which is the rule, or
 * milliseconds for a clock that a test holds. States of a session hash: a (active), r (revoked, a tombstone),
 * w (the placeholder of a process that is reading it from the database).
 */
const prelude = `
local now = tonumber(ARGV[1])
if now == 0 then
  local t = redis.call('TIME')
  now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end
-- The last one: a prefix may hold the same letters, and ids hold no brace.
local function seenOf(key) return (string.gsub(key, '^(.*)s:{', '%1seen:{')) end
local function tombstone(key, ttl, why)
  redis.call('DEL', key, seenOf(key))
  redis.call('HSET', key, 'st', 'r', 'why', why)
  redis.call('PEXPIRE', key, ttl)
end
-- Verifiers may write what they like there: a key of another type says nothing.
local function seenIn(key, ...)
  local values = redis.pcall('HMGET', key, ...)
  if not values.err then return values end
  redis.call('DEL', key)
  return {}
end
local function epoch(key)
  return tonumber(redis.call('GET', key) or '0')
end
local function index(key, score, sid, abs)
  redis.call('ZADD', key, score, sid)
  if redis.call('PTTL', key) < abs - now then redis.call('PEXPIRE', key, abs - now) end
end
`

/**
 * Lets a script run while Redis is out of memory. Only for scripts that end sessions or write to one that is here:
 * a revocation must never wait for memory, and these take next to none.
 */
const allowOom = '#!lua flags=allow-oom\n'

/** KEYS any key of the user. Answers the time of Redis in milliseconds, whatever clock a test holds. */
export const timeScript: SessionScript = defineScript(`
local t = redis.call('TIME')
return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
`)

/**
 * KEYS session, index, epoch; ARGV now, sid, idle, absolute, max sessions, tombstone ttl, deadline, epoch that was read
 * or '', fields…
 * Answers { abs, exp, ver, now, evicted sids… }, LATE after the deadline (by the clock of Redis), ENDED when a
 * revocation has come before it, or OUTDATED when the epoch is another one.
 */
export const createScript: SessionScript = defineScript(`${prelude}
local t = redis.call('TIME')
if tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000) > tonumber(ARGV[7]) then return 'LATE' end
if redis.call('HGET', KEYS[1], 'st') then return 'ENDED' end
local sid, idle, absolute, max, tomb = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local base = string.sub(KEYS[1], 1, -(#sid + 1))
local abs = now + absolute
local exp = math.min(now + idle, abs)
local ver = epoch(KEYS[3])
if ARGV[8] ~= '' and tonumber(ARGV[8]) ~= ver then return 'OUTDATED' end
redis.call('HSET', KEYS[1], unpack(ARGV, 9))
redis.call('HSET', KEYS[1], 'cat', now, 'aut', now, 'rat', now, 'exp', exp, 'abs', abs, 'ver', ver)
redis.call('PEXPIRE', KEYS[1], exp - now)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
local answer = { abs, exp, ver, now }
local surplus = redis.call('ZCARD', KEYS[2]) + 1 - max
if surplus > 0 then
  local olds = redis.call('ZRANGE', KEYS[2], 0, -1)
  local refreshed = {}
  for _, old in ipairs(olds) do refreshed[old] = tonumber(redis.call('HGET', base .. old, 'rat') or '0') end
  table.sort(olds, function(a, b)
    if refreshed[a] == refreshed[b] then return a < b end
    return refreshed[a] < refreshed[b]
  end)
  for i = 1, surplus do
    tombstone(base .. olds[i], tomb, 'too-many-sessions')
    redis.call('ZREM', KEYS[2], olds[i])
    answer[#answer + 1] = olds[i]
  end
end
index(KEYS[2], exp, sid, abs)
return answer
`)

/**
 * KEYS session, index, epoch; ARGV now, sid, gen, rt, hash, next rt, next hash, grace, idle, tombstone ttl,
 * may-be-shared, authenticated-now, jkt, fields to set…
 * Answers { outcome, now } and for OK and GRACE the fields of the hash.
 *
 * The grace of the former token begins when its successor is first seen: until then its answer may have been lost. A
 * repeated step-up gets the successor of the first one where that reached as much.
 */
export const rotateScript: SessionScript = defineScript(`${prelude}
-- Whether the session has all of the assurance that is asked for.
local function covers(key)
  local asked = {}
  for i = 14, #ARGV, 2 do asked[ARGV[i]] = ARGV[i + 1] end
  local has = redis.call('HMGET', key, 'aal', 'amr')
  if asked.aal and tonumber(has[1]) < tonumber(asked.aal) then return false end
  local methods = {}
  for _, method in ipairs(cjson.decode(has[2])) do methods[method] = true end
  for _, method in ipairs(cjson.decode(asked.amr or '[]')) do
    if not methods[method] then return false end
  end
  return true
end
local sid, gen, rt, hash = ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local grace, idle, tomb = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local h = redis.call('HMGET', KEYS[1], 'st', 'gen', 'rt', 'rh', 'prt', 'prh', 'rat', 'abs', 'exp', 'ver', 'sh', 'jkt')
if not h[1] or h[1] == 'w' then return { 'MISSING', now } end
if h[1] ~= 'a' or tonumber(h[10]) < epoch(KEYS[3]) then return { 'REVOKED', now } end
local current, abs = tonumber(h[2]), tonumber(h[8])
if now >= abs or now >= tonumber(h[9]) then return { 'EXPIRED', now } end
if h[12] ~= '' and h[12] ~= ARGV[13] then return { 'BAD', now } end
if gen == current then
  if h[3] ~= rt or h[4] ~= hash then return { 'BAD', now } end
  local exp = math.min(now + idle, abs)
  redis.call('HSET', KEYS[1], 'prt', rt, 'prh', hash, 'rt', ARGV[6], 'rh', ARGV[7], 'gen', gen + 1,
    'rat', now, 'exp', exp, 'sh', ARGV[11], unpack(ARGV, 14))
  if ARGV[12] == '1' then redis.call('HSET', KEYS[1], 'aut', now) end
  redis.call('PEXPIRE', KEYS[1], exp - now)
  index(KEYS[2], exp, sid, abs)
  return { 'OK', now, unpack(redis.call('HGETALL', KEYS[1])) }
end
if gen == current - 1 and h[5] == rt and h[6] == hash then
  local seen = seenIn(seenOf(KEYS[1]), 'rt', 'since')
  -- It was not seen before it was made, whatever a verifier says.
  if seen[1] ~= h[3] or now - math.max(tonumber(seen[2]) or 0, tonumber(h[7])) <= grace then
    local isRefresh = ARGV[12] ~= '1'
    if isRefresh ~= (h[11] == '1') or not isRefresh and not covers(KEYS[1]) then return { 'SUPERSEDED', now } end
    -- What a user may do now, or has proved again, holds for the repeated one too.
    if #ARGV >= 14 then redis.call('HSET', KEYS[1], unpack(ARGV, 14)) end
    if not isRefresh then redis.call('HSET', KEYS[1], 'aut', now) end
    return { 'GRACE', now, unpack(redis.call('HGETALL', KEYS[1])) }
  end
end
if gen > current then return { 'FUTURE', now } end
tombstone(KEYS[1], tomb, 'reused')
redis.call('ZREM', KEYS[2], sid)
return { 'REUSED', now }
`)

/** KEYS session, index; ARGV now, sid, tombstone ttl, why. Answers 1 when an active session ended. */
export const revokeScript: SessionScript = defineScript(`${allowOom}${prelude}
local was = redis.call('HGET', KEYS[1], 'st')
if was ~= 'r' then tombstone(KEYS[1], tonumber(ARGV[3]), ARGV[4]) end
redis.call('ZREM', KEYS[2], ARGV[2])
return was == 'a' and 1 or 0
`)

/**
 * KEYS index, epoch, session of the kept sid (or of any); ARGV now, sid in KEYS[3], kept sid or '', tombstone ttl,
 * why, epoch ttl, epoch or 0 to count up, further sids…
 * Answers { epoch, ended sids… }. May come late, after sessions were started that it does not mean: of the index
 * only those end that are older than the epoch.
 */
export const revokeAllScript: SessionScript = defineScript(`${allowOom}${prelude}
local kept, tomb = ARGV[3], tonumber(ARGV[4])
local base = string.sub(KEYS[3], 1, -(#ARGV[2] + 1))
local given = tonumber(ARGV[7])
local number = given > 0 and math.max(given, epoch(KEYS[2])) or epoch(KEYS[2]) + 1
local before = given > 0 and given or number
redis.call('SET', KEYS[2], number, 'PX', ARGV[6])
local answer = { number }
local seen = {}
local function finish(sid)
  if sid == kept or seen[sid] then return end
  seen[sid] = true
  tombstone(base .. sid, tomb, ARGV[5])
  redis.call('ZREM', KEYS[1], sid)
  answer[#answer + 1] = sid
end
for i = 8, #ARGV do finish(ARGV[i]) end
for _, sid in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local h = redis.call('HMGET', base .. sid, 'st', 'ver')
  -- What is being read from the database may have been read before: it is read again.
  if h[1] == 'w' then redis.call('DEL', base .. sid)
  elseif h[1] ~= 'a' or tonumber(h[2]) < before then finish(sid) end
end
if kept ~= '' and redis.call('HGET', base .. kept, 'st') == 'a' then
  redis.call('HSET', base .. kept, 'ver', math.max(number, tonumber(redis.call('HGET', base .. kept, 'ver'))))
end
return answer
`)

/**
 * Takes the place of a session that is not here, before it is read from the database.
 * KEYS session, index, epoch; ARGV now, nonce, ttl. Answers { CLAIMED, BUSY or HELD, epoch }.
 */
export const claimScript: SessionScript = defineScript(`${prelude}
local st, number = redis.call('HGET', KEYS[1], 'st'), epoch(KEYS[3])
if st == 'w' then return { 'BUSY', number } end
if st then return { 'HELD', number } end
redis.call('HSET', KEYS[1], 'st', 'w', 'n', ARGV[2], 'e', number)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
return { 'CLAIMED', number }
`)

/** Gives up a claim. KEYS session; ARGV now, nonce. */
export const unclaimScript: SessionScript = defineScript(`${allowOom}${prelude}
if redis.call('HGET', KEYS[1], 'st') == 'w' and redis.call('HGET', KEYS[1], 'n') == ARGV[2] then
  redis.call('DEL', KEYS[1])
end
return 1
`)

/**
 * Puts what the database says in the place of the claim: only there, so that a revocation or a loss in the
 * meantime wins. When the epoch has been raised since the claim, what was read may be from before: LOST.
 * KEYS session, index, epoch; ARGV now, sid, nonce, tombstone ttl, state, user epoch, ver, exp, abs,
 * why, fields…
 * Answers OK, REVOKED or LOST.
 */
export const fillScript: SessionScript = defineScript(`${allowOom}${prelude}
local sid, tomb = ARGV[2], tonumber(ARGV[4])
local h = redis.call('HMGET', KEYS[1], 'st', 'n', 'e')
if h[1] == 'r' then return 'REVOKED' end
if h[1] ~= 'w' or h[2] ~= ARGV[3] then return 'LOST' end
local number = tonumber(ARGV[6])
if ARGV[5] == 'a' and number < epoch(KEYS[3]) and tonumber(h[3]) < epoch(KEYS[3]) then
  redis.call('DEL', KEYS[1])
  return 'LOST'
end
if number > epoch(KEYS[3]) then redis.call('SET', KEYS[3], number, 'PX', math.max(1, tonumber(ARGV[9]) - now)) end
local exp, abs = tonumber(ARGV[8]), tonumber(ARGV[9])
if ARGV[5] ~= 'a' or tonumber(ARGV[7]) < epoch(KEYS[3]) or now >= exp or now >= abs then
  tombstone(KEYS[1], tomb, ARGV[10])
  redis.call('ZREM', KEYS[2], sid)
  return 'REVOKED'
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 11))
redis.call('PEXPIRE', KEYS[1], exp - now)
index(KEYS[2], exp, sid, abs)
return 'OK'
`)

/**
 * Carries a rotation that the database has decided over to Redis, never backwards. KEYS session, index, epoch;
 * ARGV now, sid, gen, exp, abs, fields…
 * Answers OK, REVOKED, or COLD when there is nothing to carry it over to; a claim of a process that may have read
 * the state before is thrown away.
 */
export const advanceScript: SessionScript = defineScript(`${allowOom}${prelude}
local sid, gen, exp, abs = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local h = redis.call('HMGET', KEYS[1], 'st', 'gen', 'ver')
if not h[1] then return 'COLD' end
if h[1] == 'w' then
  redis.call('DEL', KEYS[1])
  return 'COLD'
end
if h[1] ~= 'a' then return 'REVOKED' end
-- Either may be behind: the rotation, when it was read before the epoch was raised over all sessions but this one, and
-- Redis, when a failover has taken that back.
local ver = tonumber(h[3])
for i = 6, #ARGV, 2 do
  if ARGV[i] == 'ver' then ver = math.max(ver, tonumber(ARGV[i + 1])) end
end
if ver < epoch(KEYS[3]) then return 'REVOKED' end
if tonumber(h[2]) < gen then
  redis.call('HSET', KEYS[1], unpack(ARGV, 6))
  redis.call('HSET', KEYS[1], 'ver', ver)
  redis.call('PEXPIRE', KEYS[1], math.max(1, exp - now))
  index(KEYS[2], exp, sid, abs)
end
return 'OK'
`)

/**
 * Notes that the session is in use, and when its present generation was first seen; for as long as the session lasts.
 * The session's own key is only read, so that a verifier needs no right to write it.
 * KEYS seen; ARGV now, generation of the token or '', whether to note the time of use.
 */
export const seenScript: SessionScript = defineScript(`${prelude}
local session = string.gsub(KEYS[1], '^(.*)seen:{', '%1s:{')
local h, left = redis.call('HMGET', session, 'st', 'rt', 'gen'), redis.call('PTTL', session)
if h[1] ~= 'a' or left <= 0 then return 0 end
if ARGV[2] == h[3] and redis.call('HGET', KEYS[1], 'rt') ~= h[2] then
  redis.call('HSET', KEYS[1], 'rt', h[2], 'since', now)
end
if ARGV[3] == '1' then redis.call('HSET', KEYS[1], 'at', now) end
redis.call('PEXPIRE', KEYS[1], left)
return 1
`)

/** KEYS index; ARGV now. Answers the sids that have not run out. */
export const indexScript: SessionScript = defineScript(`${prelude}
return redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. now, '+inf')
`)

/** KEYS session, seen; ARGV now. Answers { now, seen or '', fields… }. */
export const readScript: SessionScript = defineScript(`${prelude}
return { now, seenIn(KEYS[2], 'at')[1] or '', unpack(redis.call('HGETALL', KEYS[1])) }
`)

/** KEYS seen; ARGV now. Answers { refresh id, how long ago in ms } of the generation that was seen last, or nothing. */
export const firstSeenScript: SessionScript = defineScript(`${prelude}
local seen = seenIn(KEYS[1], 'rt', 'since')
local since = tonumber(seen[2])
if not seen[1] or not since then return {} end
return { seen[1], math.max(0, now - since) }
`)

/** KEYS any key of the session; ARGV now, ttl. Answers 1 the first time, then 0 until the time is over. */
export const onceScript: SessionScript = defineScript(`${prelude}
return redis.call('SET', KEYS[1], '1', 'NX', 'PX', ARGV[2]) and 1 or 0
`)
