import type { SetupContext } from '@quintet/core'
import type { Redis } from 'ioredis'
import { createQueue, type Queue, type QueueOptions } from '../jobs/create-queue.ts'
import type { SecretText } from '../jobs/envelope.ts'

/** What {@link openQueue} takes of a `SetupContext`. */
export type QueueContext = Pick<
  SetupContext<{ readonly secrets: { readonly jobs: SecretText } }>,
  'config' | 'logger' | 'lifecycle'
>

/**
 * Opens the queue of an app in its `setup`, with the secret `config.secrets.jobs`: both for adding jobs and for the
 * workers that run them. It is closed when the process stops.
 *
 * @example
 * const redis = await openRedis(context)
 * const jobs = openQueue(context, redis)
 */
export function openQueue(
  { config, logger, lifecycle }: QueueContext,
  redis: { client(name: 'queue'): Redis },
  options: Pick<QueueOptions, 'prefix'> = {},
): Queue {
  return lifecycle.use(
    createQueue({ ...options, connection: redis.client('queue'), secret: config.secrets.jobs, logger }),
  )
}
