import { createScript } from '../commands/script.ts'

/** A limit in whole microseconds, the unit in which both implementations calculate. */
export interface GcraLimit {
  /** Microseconds that one unit costs. */
  readonly interval: number
  /** Units that can be spent at once. */
  readonly burst: number
}

/** All times in microseconds. */
export interface GcraOutcome {
  readonly allowed: boolean
  readonly remaining: number
  /** Until the same cost would be allowed; 0 when it was. */
  readonly retryAfter: number
  /** Until the full burst is available again. */
  readonly resetAfter: number
  /** The theoretical arrival time to store, absolute; unchanged when refused. */
  readonly arrival: number
}

/**
 * The generic cell rate algorithm: one number per key, the theoretical arrival time, says how much is spent.
 *
 * @see https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm
 */
export function gcra(limit: GcraLimit, cost: number, now: number, stored: number | undefined): GcraOutcome {
  const window = limit.interval * limit.burst
  // At most one window ahead: what is stored may come from a larger limit or a clock that was put back.
  const arrival = Math.min(Math.max(stored ?? now, now), now + window)
  const next = arrival + limit.interval * cost
  const wait = next - window - now
  const spent = wait > 0 ? arrival : next
  return {
    allowed: wait <= 0,
    remaining: Math.floor((window - (spent - now)) / limit.interval),
    retryAfter: Math.max(0, wait),
    resetAfter: spent - now,
    arrival: spent,
  }
}

/**
 * The same in Redis, atomic and by the clock of the server. Microseconds since the epoch are exact in Lua's doubles.
 *
 * KEYS[1] arrival time; ARGV interval, burst, cost. Returns allowed, remaining, retryAfter, resetAfter.
 */
export const runGcra: ReturnType<typeof createScript> = createScript(`
local interval, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local window = interval * burst
local stored = tonumber(redis.call('GET', KEYS[1]) or now) or now
local arrival = math.min(math.max(stored, now), now + window)
local next = arrival + interval * cost
local wait = next - window - now
if wait > 0 then
  return { 0, math.floor((window - (arrival - now)) / interval), wait, arrival - now }
end
if cost > 0 then
  redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000))
end
return { 1, math.floor((window - (next - now)) / interval), 0, next - now }
`)

/** Gives back what was spent: an arrival that lies so much earlier, and never before now. */
export const refundGcra: ReturnType<typeof createScript> = createScript(`
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stored = tonumber(redis.call('GET', KEYS[1]) or now) or now
local arrival = stored - tonumber(ARGV[1]) * tonumber(ARGV[2])
if arrival <= now then return redis.call('DEL', KEYS[1]) end
redis.call('SET', KEYS[1], string.format('%.0f', arrival), 'PX', math.ceil((arrival - now) / 1000))
return 1
`)
