import {
  cnfSecret,
  DatabaseConfig,
  IdentityConfig,
  jobsSecret,
  RedisConfig,
} from '@quintet/example-platform/config'
import { z } from 'zod'

export const MediaConfig = z.strictObject({
  database: DatabaseConfig,
  redis: RedisConfig,
  identity: IdentityConfig,
  secrets: z.strictObject({ cnf: cnfSecret, jobs: jobsSecret }),
  /** The folder of the objects' bytes. */
  directory: z.string().min(1).default('../.quintet/objects'),
})
export type MediaConfig = z.output<typeof MediaConfig>
