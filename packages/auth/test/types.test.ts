import { Hono, type MiddlewareHandler } from 'hono'
import { describe, expectTypeOf, it } from 'vitest'
import type { AccessRule, AuthManager, Principal, UserPrincipal } from '@quintet/core'
import { fetchAuth } from '../src/adapters/fetch.ts'
import { honoAuth, type AuthEnvironment } from '../src/adapters/hono.ts'
import { nodeAuth } from '../src/adapters/node.ts'
import { upgradeAuth, type UpgradeAuth } from '../src/adapters/ws.ts'
import { guard, type JwtAuthManager, type TokenVerifier } from '../src/index.ts'
import type { JwtAuthManagerOptions } from '../src/index.ts'

const manager = { authenticate: () => Promise.reject(new Error('types only')) } satisfies AuthManager

describe('types', () => {
  it('of callers follow from the access rule', () => {
    fetchAuth({ manager }, (_request, principal) => {
      expectTypeOf(principal).toEqualTypeOf<UserPrincipal>()
      return new Response()
    })
    fetchAuth({ manager, access: 'public' }, (_request, principal) => {
      expectTypeOf(principal).toEqualTypeOf<Principal>()
      return new Response()
    })
    fetchAuth({ manager, access: 'public' as AccessRule }, (_request, principal) => {
      expectTypeOf(principal).toEqualTypeOf<Principal>()
      return new Response()
    })
    nodeAuth({ manager, access: { roles: ['admin'] } }, (_request, _response, principal) => {
      expectTypeOf(principal).toEqualTypeOf<UserPrincipal>()
    })
    expectTypeOf(upgradeAuth({ manager })).toEqualTypeOf<UpgradeAuth<UserPrincipal>>()
    expectTypeOf(upgradeAuth({ manager, access: 'public' })).toEqualTypeOf<UpgradeAuth<Principal>>()
    expectTypeOf(honoAuth({ manager })).toEqualTypeOf<MiddlewareHandler<AuthEnvironment<UserPrincipal>>>()
    new Hono<AuthEnvironment<UserPrincipal>>().use(honoAuth({ manager })).get('/', (context) => {
      expectTypeOf(context.get('principal')).toEqualTypeOf<UserPrincipal>()
      return context.json({ userId: context.get('principal').userId })
    })
    guard('own tenant', ({ tenantId }) => {
      expectTypeOf(tenantId).toEqualTypeOf<string>()
      return true
    })
  })

  it('of a manager are those that core asks for, and let nobody mix a verifier with keys', () => {
    expectTypeOf<JwtAuthManager>().toExtend<AuthManager>()
    type WithVerifier = Extract<JwtAuthManagerOptions, { readonly jwt: TokenVerifier }>
    expectTypeOf<WithVerifier['keys']>().toEqualTypeOf<undefined>()
    expectTypeOf<JwtAuthManagerOptions['cnf']>().not.toBeAny()
  })
})
