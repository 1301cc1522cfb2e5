import { withServices } from '@quintet/core'
import { pruneInbox } from '@quintet/queue'
import { pruneCounts } from './counts.ts'
import { eraser } from './erase.ts'
import { exporter } from './export.ts'
import { ingest } from './ingest.ts'
import type { AnalyticsServices } from './services.ts'
import { stats } from './stats-service.ts'

export default withServices<AnalyticsServices>().defineProcess({
  services: [stats],
  workers: [ingest, eraser, exporter],
  hooks: {
    afterStart: ({ services, lifecycle }) => {
      const { db, retentionDays } = services
      lifecycle.setInterval(async () => void (await pruneCounts(db, retentionDays)), '1h')
      // Longer than a dead job can still be replayed.
      lifecycle.setInterval(async () => void (await pruneInbox(services.systemPool, '60d')), '1h')
    },
  },
})
