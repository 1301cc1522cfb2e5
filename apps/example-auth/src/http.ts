import { withServices } from '@quintet/core'
import { serveJwks } from '@quintet/auth'
import { account } from './account-service.ts'
import { platform } from './platform-service.ts'
import { sessionRoutes } from './session-routes.ts'
import type { AuthServices } from './services.ts'

const { defineProcess, route } = withServices<AuthServices>()

/** The public keys, for everybody who verifies tokens. */
const jwks = route({
  method: 'GET',
  pattern: '/.well-known/jwks.json',
  access: 'public',
  description: 'The public keys of the tokens (RFC 7517).',
  handler: (request, { services }) => serveJwks(services.keys, request),
})

export default defineProcess({ services: [account, platform], routes: [jwks, ...sessionRoutes] })
