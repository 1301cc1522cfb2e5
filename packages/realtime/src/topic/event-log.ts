import { randomBytes } from 'node:crypto'
import type { History } from '../channel/history.ts'
import type { EventPosition } from '../wire/event-position.ts'
import { noteHistory } from './history-index.ts'
import type { RealtimeRedis } from './redis-port.ts'
import { runScript } from './run-script.ts'
import type { TopicKeys } from './topic-keys.ts'

export interface LoggedEvent {
  readonly position: EventPosition
  /** JSON. */
  readonly data: string
}

export interface ReadResult {
  /** The position of the last event of the channel. */
  readonly head: EventPosition
  /** False when what came after `since` is not all there any more, or `since` is of a history that Redis has lost. */
  readonly recovered: boolean
  readonly events: readonly LoggedEvent[]
}

/** How much one read brings. */
export interface ReplayLimits {
  /** Events. */
  readonly maxReplay: number
  /** Bytes of all of them together. */
  readonly maxReplaySize: number
}

/** The tag of a channel without events. */
const noTag = '0'
/** The least time in milliseconds for which a channel remembers where it stands, however short its history is. */
const leastMemory = 24 * 60 * 60 * 1_000

// Meta is a hash: e the epoch, o and t the offset and tag of the last event. The stream id of an event is its offset;
// its field p is the tag of the event before it, so that a chain of tags can be followed from any known event.
const begin = `
local epoch, tag = unpack(redis.call('HMGET', KEYS[2], 'e', 't'))
if not epoch then
  epoch, tag = ARGV[1], '${noTag}'
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[2], 'e', epoch, 'o', 0, 't', tag)
end
`

const publishScript = `${begin}
local begins = redis.call('EXISTS', KEYS[1]) == 0 and 1 or 0
local offset = redis.call('HINCRBY', KEYS[2], 'o', 1)
redis.call('HSET', KEYS[2], 't', ARGV[7])
if ARGV[3] ~= '0' then
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[3], offset .. '-0', 'd', ARGV[2], 'p', tag)
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('PUBLISH', ARGV[6], table.concat({'e', epoch, offset, ARGV[7], tag, ARGV[2]}, '\\n'))
return {epoch, offset, begins}
`

// Answers {epoch, offset, tag, recovered, events}: what came after a position, if all of it is still there and it is not
// too much. It is read in pieces, so that too much is not held in memory either.
const readScript = `${begin}
redis.call('PEXPIRE', KEYS[2], ARGV[5])
local head = tonumber(redis.call('HGET', KEYS[2], 'o'))
local since = tonumber(ARGV[3])
if ARGV[2] ~= epoch or since > head or head - since > tonumber(ARGV[4]) then return {epoch, head, tag, 0, {}} end
if since == head then return {epoch, head, tag, ARGV[6] == tag and 1 or 0, {}} end
local events, size, at = {}, 0, since
while at < head do
  local entries = redis.call('XRANGE', KEYS[1], (at + 1) .. '-0', head .. '-0', 'COUNT', 32)
  for _, entry in ipairs(entries) do
    local fields = entry[2]
    at, size = at + 1, size + #fields[2]
    if entry[1] ~= at .. '-0' or size > tonumber(ARGV[7]) then return {epoch, head, tag, 0, {}} end
    if at == since + 1 then
      if fields[4] ~= ARGV[6] then return {epoch, head, tag, 0, {}} end
    else
      events[#events + 1] = fields[4]
    end
    events[#events + 1] = fields[2]
  end
  if #entries == 0 then return {epoch, head, tag, 0, {}} end
end
events[#events + 1] = tag
return {epoch, head, tag, 1, events}
`

// Keeps a channel that has subscribers from forgetting where it stands.
const keepScript = `return redis.call('PEXPIRE', KEYS[2], ARGV[1])`

/** Appends an event to a channel and tells every instance. */
export async function publishEvent(
  redis: RealtimeRedis,
  keys: TopicKeys,
  history: History,
  data: string,
): Promise<EventPosition> {
  const tag = newTag()
  await noteHistory(redis, keys, history)
  const reply = await runScript(redis, publishScript, logKeys(keys), [
    newTag(),
    data,
    history.length,
    Math.ceil(history.maxAge),
    memoryOf(history),
    keys.feed,
    tag,
  ])
  // It may have been erased, or Redis emptied, since it was noted.
  if (Number(reply[2]) === 1) await noteHistory(redis, keys, history, true)
  return { epoch: String(reply[0]), offset: Number(reply[1]), tag }
}

/** Reads what came after a position, within the limits; without a position only where the channel stands. */
export async function readEvents(
  redis: RealtimeRedis,
  keys: TopicKeys,
  history: History,
  since: EventPosition | undefined,
  { maxReplay, maxReplaySize }: ReplayLimits,
): Promise<ReadResult> {
  const reply = await runScript(redis, readScript, logKeys(keys), [
    newTag(),
    since?.epoch ?? '',
    since?.offset ?? 0,
    since === undefined ? 0 : maxReplay,
    memoryOf(history),
    since?.tag ?? '',
    maxReplaySize,
  ])
  const head = { epoch: String(reply[0]), offset: Number(reply[1]), tag: String(reply[2]) }
  const flat = reply[4] as readonly unknown[]
  const events: LoggedEvent[] = []
  for (let index = 0; index < flat.length; index += 2) {
    const offset = (since?.offset ?? 0) + events.length + 1
    const position = { epoch: head.epoch, offset, tag: String(flat[index + 1]) }
    events.push({ position, data: String(flat[index]) })
  }
  return { head, recovered: Number(reply[3]) === 1, events }
}

/** Keeps the position of a channel that is quiet, for as long as it has subscribers. */
export async function keepPosition(redis: RealtimeRedis, keys: TopicKeys, history: History): Promise<void> {
  await runScript(redis, keepScript, logKeys(keys), [memoryOf(history)])
}

function logKeys({ events, meta }: TopicKeys): readonly string[] {
  return [events, meta]
}

/** For how long a channel remembers where it stands after its last event, in milliseconds. */
function memoryOf(history: History): number {
  return Math.max(leastMemory, Math.ceil(history.maxAge) * 2)
}

function newTag(): string {
  return randomBytes(6).toString('base64url')
}
