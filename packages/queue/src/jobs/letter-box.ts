import type { Queue as BullQueue } from 'bullmq'
import type { Redis } from 'ioredis'
import type { JobDefinition } from './define-job.ts'
import type { EnvelopeSigner } from './envelope.ts'

/** The dead letters of one kind of job, and what it takes to sign them again. */
export interface LetterBox {
  readonly bull: BullQueue
  readonly connection: Redis
  readonly prefix: string
  readonly job: JobDefinition
  readonly signer: EnvelopeSigner
}
