import { withServices } from '@quintet/core'
import { createLeases } from '@quintet/queue'
import type { LedgerServices } from '../services.ts'
import { settle } from '../settlement.ts'

/** One worker of the fleet settles; the others stand by. */
export default withServices<LedgerServices>().defineProcess({
  hooks: {
    afterStart: ({ services, lifecycle, logger }) => {
      const leases = createLeases({
        pool: services.systemPool,
        holder: 'settlement',
        duration: '30s',
      })
      lifecycle.setInterval(async () => {
        await leases.hold('settlement', async (lease, signal) => {
          const settled = await settle(services.db, leases, lease, signal)
          if (settled > 0) logger.info({ settled, epoch: Number(lease.epoch) }, 'transfers settled')
        })
      }, '2s')
    },
  },
})
