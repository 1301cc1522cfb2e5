import { Job, Queue, type JobJson, type JobProgress } from 'bullmq'

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
