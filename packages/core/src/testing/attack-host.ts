import { AsyncLocalStorage } from 'node:async_hooks'
import { z } from 'zod'
import { service } from '../procedures/define-service.ts'
import { toQuintetError, type ErrorKind } from '../errors.ts'
import type { InvocationWrapper } from '../pipeline/invocation.ts'
import type { Principal } from '../access/principal.ts'
import { procedure } from '../procedures/define-procedure.ts'
import { createTestHost, type TestHost, type TestHostOptions } from './test-host.ts'
import { testUser } from './token-auth.ts'

/** The host that {@link surfaceAttacks} run against, with a service `target` and one token per kind of caller. */
export interface AttackHost extends TestHost {
  /** Handlers that ran, by procedure. An attack that is refused leaves no trace here. */
  readonly ran: string[]
  /** Resolves when the signal of the handler of `target.late` has aborted. */
  readonly lateAborted: Promise<void>
  /** Resolves when the handler of `target.endless` has begun, which ends only when its signal aborts. */
  readonly endlessBegun: Promise<void>
  /** Resolves to the kind of the reason for which that signal aborted. */
  readonly endlessAborted: Promise<ErrorKind>
}

/** What `target.whoami` says: whom the handler saw, and whom the wrapper around it saw. */
export interface SeenCaller {
  readonly kind: string
  readonly userId: string | null
  readonly tenantId: string | null
  readonly roles: readonly string[]
  readonly scopeTenantId: string | null
}

/** What a handler that crashes throws; it must never reach a caller. */
export const crashSecret = 'password=hunter2'

/**
 * Makes the host for the attacks. Tokens: `alice` (tenant-a), `bob` (tenant-b), `admin` (tenant-a, role admin),
 * `revoked`, `superseded` and `expired`.
 */
export function createAttackHost(
  options: Pick<TestHostOptions, 'logger' | 'port' | 'observers'> = {},
): AttackHost {
  const scope = new AsyncLocalStorage<Principal>()
  const openScope: InvocationWrapper = (invocation, next) => scope.run(invocation.principal, next)
  const ran: string[] = []
  const { promise: lateAborted, resolve: onLateAborted } = Promise.withResolvers<void>()
  const begun = Promise.withResolvers<void>()
  const aborted = Promise.withResolvers<ErrorKind>()

  const see = (name: string, principal: Principal): SeenCaller => {
    ran.push(name)
    return {
      kind: principal.kind,
      userId: principal.userId,
      tenantId: principal.tenantId,
      roles: [...principal.roles],
      scopeTenantId: scope.getStore()?.tenantId ?? null,
    }
  }

  const target = service('target', {
    whoami: procedure({ access: 'public', input: z.looseObject({}).optional() }, ({ principal }) =>
      see('whoami', principal),
    ),
    mine: procedure({ access: 'authenticated' }, ({ principal }) => see('mine', principal)),
    admin: procedure({ access: { roles: ['admin'] }, input: z.looseObject({}).optional() }, ({ principal }) =>
      see('admin', principal),
    ),
    permitted: procedure({ access: { permissions: ['secrets:read'] } }, ({ principal }) =>
      see('permitted', principal),
    ),
    internal: procedure({ access: 'system' }, ({ principal }) => see('internal', principal)),
    tenant: procedure(
      { access: { allow: (principal) => principal.tenantId === 'tenant-a', description: 'tenant-a only' } },
      ({ principal }) => see('tenant', principal),
    ),
    strict: procedure({ access: 'authenticated', input: z.strictObject({ id: z.uuid() }) }, ({ principal }) =>
      see('strict', principal),
    ),
    small: procedure(
      { access: 'public', maxInputSize: '4kb', input: z.object({ text: z.string() }) },
      ({ principal }) => see('small', principal),
    ),
    crash: procedure({ access: 'public' }, (): void => {
      throw new Error(crashSecret)
    }),
    late: procedure({ access: 'public', timeout: '50ms' }, async ({ signal }) => {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }))
      onLateAborted()
    }),
    endless: procedure({ access: 'authenticated' }, async ({ signal }) => {
      const ended = new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }))
      begun.resolve()
      await ended
      aborted.resolve(toQuintetError(signal.reason).kind)
    }),
    watch: procedure(
      { access: 'authenticated', stream: z.object({ tenantId: z.string().nullable() }) },
      async function* () {
        ran.push('watch')
        for (let count = 0; count < 3; count++) {
          await Promise.resolve()
          yield { tenantId: scope.getStore()?.tenantId ?? null }
        }
      },
    ),
  })

  const host = createTestHost({
    ...options,
    services: [target],
    wrappers: [openScope],
    tokens: {
      alice: testUser({ userId: 'alice', sessionId: 'session-alice' }),
      bob: testUser({ userId: 'bob', tenantId: 'tenant-b', sessionId: 'session-bob' }),
      admin: testUser({ userId: 'admin', sessionId: 'session-admin', roles: ['admin'] }),
      revoked: testUser({ userId: 'revoked', sessionId: 'session-revoked' }),
      superseded: testUser({ userId: 'superseded', sessionId: 'session-superseded' }),
      expired: testUser({ userId: 'expired', sessionId: 'session-expired', expiresAt: 1 }),
    },
  })
  host.auth.end('revoked', 'revoked')
  host.auth.end('superseded', 'superseded')
  return Object.assign(host, {
    ran,
    lateAborted,
    endlessBegun: begun.promise,
    endlessAborted: aborted.promise,
  })
}
