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
  /** What each tenant may keep. */
  quota: z
    .strictObject({ bytes: z.int().min(0).default(50_000_000_000), objects: z.int().min(0).default(100_000) })
    .prefault({}),
  /** The folder of the objects' bytes. */
  directory: z.string().min(1).default('../.quintet/objects'),
})
export type MediaConfig = z.output<typeof MediaConfig>

/** What a tenant may keep. */
export type Quota = MediaConfig['quota']
