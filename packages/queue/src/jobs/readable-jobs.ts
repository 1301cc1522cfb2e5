import {
  createRedisBackend,
  Job,
  Queue,
  type BackendFactory,
  type JobJson,
  type JobProgress,
  type RedisQueueBackend,
} from 'bullmq'

/** A job whose data may be no JSON, as whoever writes to Redis can leave it: it is read as null, which no envelope is. */
export class ReadableJob<Data, Result, Name extends string, Progress extends JobProgress> extends Job<
  Data,
  Result,
  Name,
  Progress
> {
  static override fromJSON<Data = unknown, Result = unknown, Name extends string = string>(
    queue: Parameters<typeof Job.fromJSON>[0],
    json: JobJson,
    jobId?: string,
  ): Job<Data, Result, Name> {
    return super.fromJSON<Data, Result, Name>(queue, { ...json, data: readableJson(json.data) }, jobId)
  }
}

/** A queue of BullMQ, one broken entry of which does not hide the others. */
export class ReadableQueue extends Queue {
  protected override get Job(): typeof Job {
    return ReadableJob
  }
}

function readableJson(text: string): string {
  try {
    JSON.parse(text)
    return text
  } catch {
    return 'null'
  }
}

/**
 * The store of BullMQ, which drops what it cannot read of a job: the options, the progress or the parent, as whoever writes to
 * Redis can leave them. BullMQ throws there, so that its workers pause for a quarter of a minute and the entry is never
 * worked on; without them it is, and its envelope decides what becomes of it.
 */
export const createReadableBackend: BackendFactory<RedisQueueBackend> = (name, options, settings) => {
  const backend = createRedisBackend(name, options, settings)
  const { getJobData, execCommand } = backend
  const drop = async (id: string, fields: readonly string[]): Promise<void> => {
    const client = (await backend.client) as unknown as HashClient
    await client.hdel(backend.toKey(id), ...fields)
  }

  backend.getJobData = async (id) => {
    try {
      return await getJobData.call(backend, id)
    } catch (error) {
      const client = (await backend.client) as unknown as HashClient
      const fields = unreadable(await client.hgetall(backend.toKey(id)))
      if (fields.length === 0) throw error
      await drop(id, fields)
      return await getJobData.call(backend, id)
    }
  }
  backend.execCommand = (client, command, args) => {
    const answer: unknown = execCommand.call(backend, client, command, args)
    return takesJob.has(command) ? withoutUnreadable(answer as Promise<unknown>, drop) : answer
  }
  return backend
}

interface HashClient {
  hgetall(key: string): Promise<Record<string, string>>
  hdel(key: string, ...fields: readonly string[]): Promise<number>
}

/** The commands that answer with the next job: its fields, its id, and more. */
const takesJob: ReadonlySet<string> = new Set(['moveToActive', 'moveToFinished'])

async function withoutUnreadable(
  answer: Promise<unknown>,
  drop: (id: string, fields: readonly string[]) => Promise<void>,
): Promise<unknown> {
  const taken = await answer
  if (!Array.isArray(taken) || !Array.isArray(taken[0])) return taken
  const [flat, id, ...rest] = taken as [readonly string[], string, ...unknown[]]
  const job = Object.fromEntries(
    Array.from({ length: flat.length / 2 }, (_, index) => [flat[2 * index], flat[2 * index + 1]]),
  ) as Record<string, string>
  const fields = unreadable(job)
  if (fields.length === 0) return taken
  await drop(id, fields)
  for (const field of fields) delete job[field]
  return [Object.entries(job).flat(), id, ...rest]
}

/** The fields of a job that BullMQ, or one of its scripts, could not read. */
function unreadable(job: Readonly<Record<string, string>>): readonly string[] {
  return Object.entries(readers)
    .filter(([field, isReadable]) => job[field] !== undefined && !canRead(job[field], isReadable))
    .map(([field]) => field)
}

const readers: Readonly<Record<string, (value: unknown) => boolean>> = {
  opts: isOptions,
  progress: () => true,
  parent: isRecord,
}

function canRead(text: string, isReadable: (value: unknown) => boolean): boolean {
  try {
    return isReadable(JSON.parse(text))
  } catch {
    return false
  }
}

function isOptions(value: unknown): boolean {
  if (!isRecord(value)) return false
  const { attempts, delay, priority, backoff, removeOnComplete, removeOnFail } = value
  return (
    [attempts, delay, priority].every((each) => each === undefined || typeof each === 'number') &&
    (backoff === undefined || typeof backoff === 'number' || isRecord(backoff)) &&
    [removeOnComplete, removeOnFail].every(isRetention)
  )
}

function isRetention(value: unknown): boolean {
  if (value === undefined || typeof value === 'boolean' || typeof value === 'number') return true
  return isRecord(value) && Object.values(value).every((each) => typeof each === 'number')
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
