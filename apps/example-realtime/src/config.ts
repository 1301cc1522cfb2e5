import { cnfSecret, IdentityConfig, jobsSecret, RedisConfig } from '@quintet/example-platform/config'
import { z } from 'zod'

export const RealtimeConfig = z.strictObject({
  redis: RedisConfig,
  identity: IdentityConfig,
  secrets: z.strictObject({ cnf: cnfSecret, jobs: jobsSecret }),
})
export type RealtimeConfig = z.output<typeof RealtimeConfig>
