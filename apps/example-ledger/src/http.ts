import { withServices } from '@quintet/core'
import { ledger } from './ledger-service.ts'
import type { LedgerServices } from './services.ts'

export default withServices<LedgerServices>().defineProcess({
  services: [ledger],
  workers: ({ events }) => [events.relay],
})
