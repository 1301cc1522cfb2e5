import { withServices } from '@quintet/core'
import { account } from './account-service.ts'
import { platform } from './platform-service.ts'
import type { AuthServices } from './services.ts'

const { defineProcess, route } = withServices<AuthServices>()

/** The public keys, for everybody who verifies tokens. */
const jwks = route({
  method: 'GET',
  pattern: '/.well-known/jwks.json',
  access: 'public',
  description: 'The public keys of the tokens (RFC 7517).',
  handler: (_, { services }) =>
    Response.json(services.keys.jwks(), {
      headers: { 'content-type': 'application/jwk-set+json', 'cache-control': 'public, max-age=300' },
    }),
})

export default defineProcess({ services: [account, platform], routes: [jwks] })
