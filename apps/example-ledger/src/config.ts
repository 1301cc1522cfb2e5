import {
  cnfSecret,
  DatabaseConfig,
  IdentityConfig,
  jobsSecret,
  RedisConfig,
} from '@quintet/example-platform/config'
import { z } from 'zod'

export const LedgerConfig = z.strictObject({
  database: DatabaseConfig,
  redis: RedisConfig,
  identity: IdentityConfig,
  secrets: z.strictObject({ cnf: cnfSecret, jobs: jobsSecret }),
})
export type LedgerConfig = z.output<typeof LedgerConfig>
