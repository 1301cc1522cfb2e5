import type { Queue } from '../jobs/create-queue.ts'

/** A declaration counts while one of its processes was seen within this time, in milliseconds. */
export const declarationLifetime = 60_000
const stateLifetime = 7 * 86_400_000
/** How long one process may take to add the job of a slot before another may, in milliseconds. */
const claimTime = 10_000

/** What a process that looked at the state of a schedule knows. */
export interface ScheduleView {
  /** The time of Redis, in milliseconds since the epoch. */
  readonly now: number
  /** The latest slot whose job was added; undefined when none is known. */
  readonly last: number | undefined
  /** Whether this declaration applies: of those that differ, the one that was declared last. */
  readonly applies: boolean
}

/**
 * What the fleet knows of one schedule: which declarations are alive, and which slot ran last. All times are those of
 * Redis, so the clocks of the processes do not matter.
 */
export interface ScheduleState {
  look(): Promise<ScheduleView>
  /** Claims a slot; false when another process has. */
  claim(last: number | undefined): Promise<boolean>
  /** Records that the job of a slot was added. */
  confirm(slot: number): Promise<void>
}

const time = `local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)`

const lookScript = `${time}
local key, own, lifetime = KEYS[1], ARGV[1], tonumber(ARGV[2])
redis.call('HSETNX', key, 'order:' .. own, ARGV[4] ~= '' and ARGV[4] or now)
redis.call('HSET', key, 'seen:' .. own, now)
redis.call('PEXPIRE', key, ARGV[3])
local state = {}
local pairs = redis.call('HGETALL', key)
for at = 1, #pairs, 2 do state[pairs[at]] = pairs[at + 1] end
local highest, applies = tonumber(state['order:' .. own]), own
for field, seen in next, state do
  local id = string.match(field, '^seen:(.+)$')
  if id then
    if math.abs(now - seen) > lifetime then
      redis.call('HDEL', key, 'seen:' .. id, 'order:' .. id, 'last:' .. id, 'claim:' .. id)
    else
      local order = tonumber(state['order:' .. id])
      if order > highest or (order == highest and id > applies) then highest, applies = order, id end
    end
  end
end
return { tostring(now), state['last:' .. own] or '', applies == own and 1 or 0, state['order:' .. own] }`

const claimScript = `${time}
local claim = redis.call('HGET', KEYS[1], 'claim:' .. ARGV[1])
if (redis.call('HGET', KEYS[1], 'last:' .. ARGV[1]) or '') ~= ARGV[2] then return 0 end
if claim and math.abs(claim - now) <= tonumber(ARGV[3]) then return 0 end
redis.call('HSET', KEYS[1], 'claim:' .. ARGV[1], now)
return 1`

const confirmScript = `redis.call('HSET', KEYS[1], 'last:' .. ARGV[1], ARGV[2])
redis.call('HDEL', KEYS[1], 'claim:' .. ARGV[1])
return 1`

/** @param declaration what the schedule says, as an id: processes that say the same share it. */
export function createScheduleState(queue: Queue, key: string, declaration: string): ScheduleState {
  const run = (script: string, ...values: readonly (string | number)[]): Promise<unknown> =>
    queue.ask(() => queue.connection.eval(script, 1, key, declaration, ...values))
  /** When it was declared first. Each process brings it along, so that it survives what Redis may lose. */
  let declaredAt = ''
  return {
    async look() {
      const answer = await run(lookScript, declarationLifetime, stateLifetime, declaredAt)
      const [now, last, applies, order] = answer as [string, string, number, string]
      declaredAt = order
      return { now: Number(now), last: last === '' ? undefined : Number(last), applies: applies === 1 }
    },
    async claim(last) {
      return (await run(claimScript, String(last ?? ''), claimTime)) === 1
    },
    async confirm(slot) {
      await run(confirmScript, String(slot))
    },
  }
}
