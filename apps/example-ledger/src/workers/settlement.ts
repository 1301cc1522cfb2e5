import { withServices } from '@quintet/core'
import { createLeases } from '@quintet/queue'
import { pruneIdempotencyKeys } from '@quintet/rls/data'
import { asSystem } from '@quintet/rls'
import { eraser } from '../erase.ts'
import { exporter } from '../export.ts'
import { formerOwners } from '../former-owners.ts'
import { reconcile } from '../reconciliation.ts'
import type { LedgerServices } from '../services.ts'
import { settle } from '../settlement.ts'
import { followUsers } from '../users.ts'

/** One worker of the fleet settles and reconciles; the others stand by. What is removed is erased here too. */
export default withServices<LedgerServices>().defineProcess({
  workers: [eraser, exporter, followUsers, formerOwners],
  hooks: {
    afterStart: ({ services: { db, systemPool }, lifecycle, logger, health }) => {
      const leases = createLeases({ pool: systemPool, holder: 'settlement', duration: '30s' })
      let broken = 0
      health.add({
        name: 'ledger',
        critical: false,
        check: async () => {
          if (broken > 0) throw new Error(`${broken} accounts or transfers do not add up`)
        },
      })
      lifecycle.setInterval(async () => {
        await leases.hold('settlement', async (lease, signal) => {
          const settled = await settle(db, leases, lease, signal)
          if (settled > 0) logger.info({ settled, epoch: Number(lease.epoch) }, 'transfers settled')
        })
      }, '2s')
      lifecycle.setInterval(async () => {
        await leases.hold('reconciliation', async (_, signal) => {
          const discrepancies = await reconcile(db, signal)
          broken = discrepancies.length
          for (const { what, id } of discrepancies) logger.error({ what, id }, 'the ledger does not add up')
          await asSystem('prune idempotency keys', () => pruneIdempotencyKeys(db, '30d'))
        })
      }, '1h')
    },
  },
})
