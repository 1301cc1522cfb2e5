import { randomBytes } from 'node:crypto'
import type { History } from './channel.ts'
import { RealtimeError } from './errors.ts'
import type { RealtimeRedis } from './redis-port.ts'
import type { TopicKeys } from './topic-keys.ts'

/** Where an event stands in its channel. Offsets count from 1; a new epoch means that the count began anew. */
export interface EventPosition {
  readonly epoch: string
  readonly offset: number
}

export interface LoggedEvent {
  readonly offset: number
  /** JSON. */
  readonly data: string
}

export interface ReadResult {
  /** The position of the last event of the channel. */
  readonly head: EventPosition
  /** False when what came after `since` is not all there any more. */
  readonly recovered: boolean
  readonly events: readonly LoggedEvent[]
}

// Meta is a hash: e the epoch, o the offset of the last event. An event's stream id is its offset.
const publishScript = `
local epoch = redis.call('HGET', KEYS[2], 'e')
if not epoch then
  epoch = ARGV[1]
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'e', epoch, 'o', 0)
end
local offset = redis.call('HINCRBY', KEYS[2], 'o', 1)
if ARGV[3] ~= '0' then
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], offset .. '-0', 'd', ARGV[2])
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
redis.call('PEXPIRE', KEYS[2], ARGV[4] * 2)
redis.call('PUBLISH', ARGV[5], 'e\\n' .. epoch .. '\\n' .. offset .. '\\n' .. ARGV[2])
return {epoch, offset}
`

// Answers {epoch, offset, recovered, events}: what came after a position, if all of it is still there.
const readScript = `
local epoch = redis.call('HGET', KEYS[2], 'e')
if not epoch then
  epoch = ARGV[1]
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'e', epoch, 'o', 0)
end
redis.call('PEXPIRE', KEYS[2], math.max(ARGV[5] * 2, redis.call('PTTL', KEYS[2])))
local head = tonumber(redis.call('HGET', KEYS[2], 'o'))
local since = tonumber(ARGV[3])
if ARGV[2] ~= epoch or since > head or head - since > tonumber(ARGV[4]) then return {epoch, head, 0, {}} end
if since == head then return {epoch, head, 1, {}} end
local events = {}
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], (since + 1) .. '-0', '+')) do
  events[#events + 1] = string.match(entry[1], '^%d+')
  events[#events + 1] = entry[2][2]
end
if #events ~= 2 * (head - since) then return {epoch, head, 0, {}} end
return {epoch, head, 1, events}
`

/** Appends an event to a channel and tells every instance. */
export async function publishEvent(
  redis: RealtimeRedis,
  keys: TopicKeys,
  history: History,
  data: string,
): Promise<EventPosition> {
  const reply = await ask(redis, publishScript, keys, [
    newEpoch(),
    data,
    history.length,
    Math.ceil(history.maxAge),
    keys.feed,
  ])
  return { epoch: String(reply[0]), offset: Number(reply[1]) }
}

/** Reads what came after a position, up to `most` events; without a position only where the channel stands. */
export async function readEvents(
  redis: RealtimeRedis,
  keys: TopicKeys,
  history: History,
  since: EventPosition | undefined,
  most: number,
): Promise<ReadResult> {
  const reply = await ask(redis, readScript, keys, [
    newEpoch(),
    since?.epoch ?? '',
    since?.offset ?? 0,
    most,
    Math.ceil(history.maxAge),
  ])
  const flat = reply[3] as readonly unknown[]
  const events: LoggedEvent[] = []
  for (let index = 0; index < flat.length; index += 2)
    events.push({ offset: Number(flat[index]), data: String(flat[index + 1]) })
  return {
    head: { epoch: String(reply[0]), offset: Number(reply[1]) },
    recovered: Number(reply[2]) === 1,
    events,
  }
}

async function ask(
  redis: RealtimeRedis,
  script: string,
  keys: TopicKeys,
  values: readonly (string | number)[],
): Promise<readonly unknown[]> {
  try {
    return (await redis.eval(script, 2, keys.events, keys.meta, ...values)) as readonly unknown[]
  } catch (cause) {
    throw new RealtimeError(
      'ERR_REALTIME_UNAVAILABLE',
      'The channel cannot be reached now. Try again shortly.',
      { retryAfter: 1_000, cause },
    )
  }
}

function newEpoch(): string {
  return randomBytes(6).toString('base64url')
}
