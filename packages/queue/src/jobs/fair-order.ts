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
  /** Gives a job that was just added as {@link lastTurn} its turn, if it still waits. */
  place(tenantId: string | null, jobId: string): Promise<void>
  /**
   * Gives a job that a worker has taken without a turn its turn. True when that is due now; else the job is to be put back, and
   * waits under it.
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

// BullMQ keeps a waiting job under a score: above 32 bits its priority, below the order in which it was added.
const common = `
local unit = 0x100000000
local waiting, turns, tenant, prefix, id = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3]
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

local function take_turn(due)
  local turn = math.max(due, tonumber(redis.call('HGET', turns, tenant) or 0))
  redis.call('HSET', turns, tenant, turn + 1)
  return math.min(turn, ${lastTurn})
end
`

const placeScript = `${common}
local score = redis.call('ZSCORE', waiting, id)
if not score or turn_of(score) ~= ${lastTurn} then return 0 end
local turn = take_turn(due_turn())
redis.call('ZADD', waiting, tonumber(score) - (${lastTurn} - turn) * unit, id)
redis.call('HSET', prefix .. id, 'priority', turn)
return 1`

const isDueScript = `${common}
local due = due_turn()
local turn = take_turn(due)
if redis.call('EXISTS', prefix .. id) == 1 then redis.call('HSET', prefix .. id, 'priority', turn) end
return turn <= due and 1 or 0`

const leaveScript = `if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'priority', ${noTurn}) end
return 1`

export function createFairOrder(bull: BullQueue, connection: RedisClient): FairOrder {
  const run = (script: string, tenantId: string | null, jobId: string): Promise<unknown> => {
    const keys = [bull.toKey('prioritized'), bull.toKey('turns')]
    return connection.eval(script, keys.length, ...keys, tenantId ?? '', bull.toKey(''), jobId)
  }
  return {
    async place(tenantId, jobId) {
      await run(placeScript, tenantId, jobId)
    },
    isDue: async (tenantId, jobId) => (await run(isDueScript, tenantId, jobId)) === 1,
    async leave(jobId) {
      await connection.eval(leaveScript, 1, bull.toKey(jobId))
    },
  }
}
