import { type Transport, withServices } from '@quintet/core'
import { accountRoutes } from './account-routes.ts'
import { account } from './account-service.ts'
import { forgetOld } from './audit.ts'
import { verificationRoutes } from './email-verification.ts'
import { collector } from './export.ts'
import { machines } from './machines-service.ts'
import { members } from './members-service.ts'
import { oauthRoutes } from './oauth-routes.ts'
import { platform } from './platform-service.ts'
import { eraser } from './removal.ts'
import { secondFactor, secondFactorRoutes } from './second-factor-service.ts'
import { sessionRoutes } from './session-routes.ts'
import type { AuthServices } from './services.ts'

const { defineProcess } = withServices<AuthServices>()

/** The relay of the event bus, which is one of the services. */
const outbox: Transport = {
  name: 'outbox',
  start: (host) => (host.services as AuthServices).events.relay.start(host),
}

export default defineProcess({
  services: [account, members, machines, platform, secondFactor],
  routes: [...oauthRoutes, ...sessionRoutes, ...secondFactorRoutes, ...accountRoutes, ...verificationRoutes],
  workers: [outbox, eraser, collector],
  hooks: {
    afterStart: ({ services: { db }, lifecycle }) => {
      lifecycle.setInterval(() => forgetOld(db), '1h')
    },
  },
})
