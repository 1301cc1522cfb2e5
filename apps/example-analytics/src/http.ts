import { withServices } from '@quintet/core'
import { ingest } from './ingest.ts'
import type { AnalyticsServices } from './services.ts'
import { stats } from './stats-service.ts'

export default withServices<AnalyticsServices>().defineProcess({ services: [stats], workers: [ingest] })
