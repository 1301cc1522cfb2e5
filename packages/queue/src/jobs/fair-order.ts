import type { Queue as BullQueue } from 'bullmq'
import type { RedisClient } from './connection.ts'

/**
 * Start-time fair queuing: the tenants whose jobs wait take turns, and the jobs of one tenant keep their order. A job waits
 * under the number of its turn, as its priority in BullMQ: the turn after the last one of its tenant, but not before the one
 * that is due now. So a tenant with nothing waiting is next, however many jobs of others wait.
 *
 * @see https://doi.org/10.1109/90.649569 Goyal, Vin, Cheng: Start-time fair queuing
 */
export interface FairOrder {
  /** Gives the jobs that were added as {@link lastTurn} and still wait their turns, in the order in which they came. */
  place(): Promise<void>
  /**
   * Gives a job that a worker has taken without a turn its turn, and then those that wait without one. True when it is due now;
   * else the job is to be put back, and waits under its turn.
   */
  isDue(tenantId: string | null, jobId: string): Promise<boolean>
  /** A job that is not to run yet has no turn: when it may, it is taken first, and gets one then. */
  leave(jobId: string): Promise<void>
}

/** The priority of a job without a turn. */
export const noTurn = 1
/** The priority of a job that is just being added: BullMQ has none behind it. */
export const lastTurn = 2 ** 21 - 1
const firstTurn = 2
/** When turns have come this far they are counted from the first one again, unless too many jobs wait to do so at once. */
const renumberAt = 2 ** 20
const renumberAtMost = 10_000
/** Jobs that get their turns in one step, during which Redis does nothing else. */
const placedAtOnce = 200

// BullMQ keeps a waiting job under a score: above 32 bits its priority, below the order in which it was added.
const common = `
local unit = 0x100000000
local waiting, turns, prefix, tenant, id = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
local from, below = ${firstTurn} * unit, string.format('(%.0f', ${lastTurn} * unit)
local function turn_of(score) return math.floor(tonumber(score) / unit) end

local function renumber(shift)
  local jobs = redis.call('ZRANGEBYSCORE', waiting, from, below, 'WITHSCORES')
  for index = 1, #jobs, 2 do
    local score = tonumber(jobs[index + 1]) - shift * unit
    redis.call('ZADD', waiting, score, jobs[index])
    redis.call('HSET', prefix .. jobs[index], 'priority', turn_of(score))
  end
  local last = redis.call('HGETALL', turns)
  for index = 1, #last, 2 do
    redis.call('HSET', turns, last[index], math.max(${firstTurn}, tonumber(last[index + 1]) - shift))
  end
end

local function due_turn()
  local next = redis.call('ZRANGEBYSCORE', waiting, from, below, 'WITHSCORES', 'LIMIT', 0, 1)
  if not next[2] then
    redis.call('DEL', turns)
    return ${firstTurn}
  end
  local due = turn_of(next[2])
  if due < ${renumberAt} or redis.call('ZCARD', waiting) > ${renumberAtMost} then return due end
  renumber(due - ${firstTurn})
  return ${firstTurn}
end

local function take_turn(of, due)
  local turn = math.max(due, tonumber(redis.call('HGET', turns, of) or 0))
  redis.call('HSET', turns, of, turn + 1)
  return math.min(turn, ${lastTurn - 1})
end

-- Not verified here: a forged tenant is a place in the order and nothing else.
local function tenant_of(job)
  local data = redis.call('HGET', prefix .. job, 'data') or ''
  local head = '^{"v":1,"ctx":{"kind":"%l+","tenant":'
  if string.match(data, head .. 'null') then return '' end
  local plain = string.match(data, head .. '"([^"\\\\]*)"')
  if plain then return plain end
  local readable, envelope = pcall(cjson.decode, data)
  local named = readable and type(envelope) == 'table' and type(envelope.ctx) == 'table' and envelope.ctx.tenant
  return type(named) == 'string' and named or ''
end

local function place_all(priority, due)
  local first, past = string.format('%.0f', priority * unit), string.format('(%.0f', (priority + 1) * unit)
  local jobs = redis.call('ZRANGEBYSCORE', waiting, first, past, 'WITHSCORES', 'LIMIT', 0, ${placedAtOnce})
  for index = 1, #jobs, 2 do
    local turn = take_turn(tenant_of(jobs[index]), due)
    redis.call('ZADD', waiting, tonumber(jobs[index + 1]) - (priority - turn) * unit, jobs[index])
    redis.call('HSET', prefix .. jobs[index], 'priority', turn)
  end
end
`

const placeScript = `${common}
place_all(${lastTurn}, due_turn())
return 1`

const isDueScript = `${common}
local due = due_turn()
local turn = take_turn(tenant, due)
if redis.call('EXISTS', prefix .. id) == 1 then redis.call('HSET', prefix .. id, 'priority', turn) end
place_all(${noTurn}, due)
return turn <= due and 1 or 0`

const leaveScript = `if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'priority', ${noTurn}) end
return 1`

export function createFairOrder(bull: BullQueue, connection: RedisClient): FairOrder {
  const run = (script: string, ...values: readonly string[]): Promise<unknown> => {
    const keys = [bull.toKey('prioritized'), bull.toKey('turns')]
    return connection.eval(script, keys.length, ...keys, bull.toKey(''), ...values)
  }
  return {
    async place() {
      await run(placeScript)
    },
    isDue: async (tenantId, jobId) => (await run(isDueScript, tenantId ?? '', jobId)) === 1,
    async leave(jobId) {
      await connection.eval(leaveScript, 1, bull.toKey(jobId))
    },
  }
}
