import type { Queue as BullQueue } from 'bullmq'
import type { RedisClient } from './connection.ts'
import type { JobDefinition } from './define-job.ts'
import type { EnvelopeSigner } from './envelope.ts'

/** The dead letters of one kind of job, and what it takes to sign them again. */
export interface LetterBox {
  readonly bull: BullQueue
  readonly connection: RedisClient
  readonly prefix: string
  readonly job: JobDefinition
  readonly signer: EnvelopeSigner
  /** Runs commands within the time limit of the queue. */
  readonly ask: <Result>(run: () => Promise<Result>) => Promise<Result>
}
