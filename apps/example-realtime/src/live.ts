import { withServices } from '@quintet/core'
import { announcer } from './announce.ts'
import { eraser } from './erase.ts'
import { channels } from './channels-service.ts'
import type { RealtimeServices } from './services.ts'

export default withServices<RealtimeServices>().defineProcess({
  services: [channels],
  workers: [announcer, eraser],
})
