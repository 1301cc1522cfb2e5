import type { Schema, SchemaOutput } from '@quintet/core'
import { validate } from '@quintet/core/kit'
import type { JobDefinition } from './define-job.ts'
import { describeFailure, QueueError } from '../errors.ts'

/**
 * The JSON text of a payload, checked as the worker will see it.
 *
 * @throws QueueError `ERR_QUEUE_BAD_PAYLOAD` or `ERR_QUEUE_PAYLOAD_TOO_LARGE`.
 */
export async function serializePayload(job: JobDefinition, payload: unknown): Promise<string> {
  const text = toJson(job, payload)
  if (Buffer.byteLength(text) > job.maxPayloadSize) {
    throw new QueueError(
      'ERR_QUEUE_PAYLOAD_TOO_LARGE',
      `${job.name}: the payload is larger than ${job.maxPayloadSize} bytes.`,
    )
  }
  await parsePayload(job, JSON.parse(text))
  return text
}

function toJson(job: JobDefinition, payload: unknown): string {
  try {
    return JSON.stringify(payload) ?? 'null'
  } catch (error) {
    throw new QueueError(
      'ERR_QUEUE_BAD_PAYLOAD',
      `${job.name}: the payload cannot be written as JSON: ${describeFailure(error).text}`,
      { cause: error },
    )
  }
}

/** @throws QueueError `ERR_QUEUE_BAD_PAYLOAD` with `details.issues`. */
export async function parsePayload<Payload extends Schema>(
  job: JobDefinition<Payload>,
  payload: unknown,
): Promise<SchemaOutput<Payload>> {
  try {
    return await validate(job.payload, payload)
  } catch (error) {
    const details = (error as { details?: Readonly<Record<string, unknown>> }).details
    throw new QueueError('ERR_QUEUE_BAD_PAYLOAD', `${job.name}: ${(error as Error).message}`, {
      ...(details === undefined ? {} : { details }),
    })
  }
}
