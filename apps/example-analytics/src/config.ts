import {
  cnfSecret,
  DatabaseConfig,
  IdentityConfig,
  jobsSecret,
  RedisConfig,
} from '@quintet/example-platform/config'
import { z } from 'zod'

export const AnalyticsConfig = z.strictObject({
  database: DatabaseConfig,
  redis: RedisConfig,
  identity: IdentityConfig,
  secrets: z.strictObject({ cnf: cnfSecret, jobs: jobsSecret }),
  /** For how many days counts are kept. */
  retentionDays: z.int().min(1).max(36_500).default(800),
})
export type AnalyticsConfig = z.output<typeof AnalyticsConfig>
