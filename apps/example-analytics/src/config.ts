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
})
export type AnalyticsConfig = z.output<typeof AnalyticsConfig>
