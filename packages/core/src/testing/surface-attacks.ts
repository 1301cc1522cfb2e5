import assert from 'node:assert/strict'
import type { ErrorKind } from '../errors.ts'
import { crashSecret, type AttackHost, type SeenCaller } from './attack-host.ts'

export interface SurfaceRequest {
  /** The full name of a procedure, or what an attacker gives for one. */
  readonly method: string
  readonly input: unknown
  /** A bearer token; undefined for an anonymous caller. */
  readonly token: string | undefined
}

export type SurfaceOutcome =
  | { readonly ok: true; readonly output: unknown }
  | { readonly ok: false; readonly kind: ErrorKind; readonly code: string; readonly message?: string }

/** How the attacks reach a surface, e.g. by an HTTP request to the transport under test. */
export interface SurfaceAdapter {
  /** The host that the surface was started with; `createAttackHost` makes it. */
  readonly host: AttackHost
  call(request: SurfaceRequest): Promise<SurfaceOutcome>
}

/** One attack. It rejects (with an `AssertionError`) when the surface lets it through or falls over. */
export interface SurfaceAttack<Surface extends SurfaceAdapter = SurfaceAdapter> {
  readonly name: string
  run(surface: Surface): Promise<void>
}

/** What an attacker puts into a body, hoping that the server takes it for context. */
const forgedContext = {
  context: {
    principal: { kind: 'system', roles: ['admin'] },
    authContext: { userId: 'admin', roles: ['admin'] },
  },
  principal: { kind: 'user', userId: 'admin', tenantId: 'tenant-a', roles: ['admin'] },
  authContext: { roles: ['admin'], tenantId: 'tenant-a', isSystem: true },
  metadata: { tenantId: 'tenant-a' },
  tenantId: 'tenant-a',
  userId: 'admin',
  roles: ['admin'],
  isSystem: true,
  credentials: { scheme: 'attested', principal: { kind: 'system' }, by: 'in-process' },
}

const unknownMethods = [
  'target.nothing',
  'nothing.whoami',
  'target',
  'target.',
  '.whoami',
  'whoami',
  'target.whoami.name',
  'target.Whoami',
  'target/whoami',
  ' target.whoami',
]

const prototypeMethods = [
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  'target.__proto__',
  'target.constructor',
  'target.toString',
  'target.hasOwnProperty',
  '__proto__.whoami',
  'constructor.name',
  'target.prototype',
]

/**
 * The attacks that every surface must stand, in terms of procedure calls. A surface's test runs each against an
 * adapter of its own:
 *
 * @example
 * it.each(surfaceAttacks)('$name', (attack) => attack.run({ host, call }))
 */
export const surfaceAttacks: readonly SurfaceAttack[] = [
  refused('an anonymous caller of an authenticated procedure', 'mine', undefined, 'unauthenticated'),
  refused('an anonymous caller of a procedure for a role', 'admin', undefined, 'unauthenticated'),
  refused('an anonymous caller of a procedure for a permission', 'permitted', undefined, 'unauthenticated'),
  refused('an anonymous caller of a system procedure', 'internal', undefined, 'unauthenticated'),
  refused('an anonymous caller of a procedure with a predicate', 'tenant', undefined, 'unauthenticated'),
  nobody('an unknown token on a public procedure', 'never-granted'),
  refused('a user without the role', 'admin', 'alice', 'forbidden'),
  refused('a user without the permission', 'permitted', 'alice', 'forbidden'),
  refused('a user, even an admin, of a system procedure', 'internal', 'admin', 'forbidden'),
  refused('a user of another tenant', 'tenant', 'bob', 'forbidden'),
  refused('a revoked session', 'mine', 'revoked', 'unauthenticated'),
  refused('a superseded token', 'mine', 'superseded', 'unauthenticated'),
  refused('an expired token', 'mine', 'expired', 'unauthenticated'),
  nobody('a revoked session on a public procedure', 'revoked'),
  refused(
    'forged context in the input of an anonymous caller',
    'admin',
    undefined,
    'unauthenticated',
    forgedContext,
  ),
  refused('forged context in the input of a user', 'admin', 'alice', 'forbidden', forgedContext),
  {
    name: 'forged context in the input changes nobody',
    async run(surface) {
      const seen = await whoami(surface, 'bob', forgedContext)
      assert.deepEqual(seen, {
        kind: 'user',
        userId: 'bob',
        tenantId: 'tenant-b',
        roles: [],
        scopeTenantId: 'tenant-b',
      })
      const nobody = await whoami(surface, undefined, forgedContext)
      assert.deepEqual(nobody, {
        kind: 'anonymous',
        userId: null,
        tenantId: null,
        roles: [],
        scopeTenantId: null,
      })
    },
  },
  {
    name: 'the wrapper is open around the handler with the caller of this call',
    async run(surface) {
      const seen = await Promise.all([
        whoami(surface, 'alice', {}),
        whoami(surface, 'bob', {}),
        whoami(surface, 'alice', {}),
      ])
      assert.deepEqual(
        seen.map((each) => [each.userId, each.scopeTenantId]),
        [
          ['alice', 'tenant-a'],
          ['bob', 'tenant-b'],
          ['alice', 'tenant-a'],
        ],
      )
    },
  },
  {
    name: 'a session that is revoked between two calls is refused at the second',
    async run(surface) {
      const { auth } = surface.host
      const bob = await auth.authenticate(
        { scheme: 'bearer', token: 'bob' },
        { signal: new AbortController().signal },
      )
      auth.grant('short-lived', { ...bob })
      await expectOk(surface, { method: 'target.mine', input: undefined, token: 'short-lived' })
      auth.end('short-lived', 'revoked')
      await expectRefusal(surface, { method: 'target.mine', input: undefined, token: 'short-lived' }, [
        'unauthenticated',
      ])
    },
  },
  {
    name: 'a session store that is down answers unavailable, not unauthenticated',
    async run(surface) {
      surface.host.auth.unavailable = true
      try {
        await expectRefusal(surface, { method: 'target.mine', input: undefined, token: 'alice' }, [
          'unavailable',
        ])
      } finally {
        surface.host.auth.unavailable = false
      }
    },
  },
  {
    name: 'unknown methods',
    async run(surface) {
      for (const method of unknownMethods) {
        await expectRefusal(surface, { method, input: {}, token: 'admin' }, [
          'not-found',
          'invalid-input',
          'unsupported',
        ])
      }
    },
  },
  {
    name: 'names from the prototype of an object as methods',
    async run(surface) {
      for (const method of prototypeMethods) {
        await expectRefusal(surface, { method, input: {}, token: 'admin' }, [
          'not-found',
          'invalid-input',
          'unsupported',
        ])
      }
    },
  },
  {
    name: 'input that the schema refuses',
    async run(surface) {
      const inputs = [undefined, null, 7, 'text', [], {}, { id: 'no-uuid' }, { id: { toString: 'x' } }]
      for (const input of inputs) {
        await expectRefusal(surface, { method: 'target.strict', input, token: 'alice' }, ['invalid-input'])
      }
    },
  },
  {
    name: 'input is not even read for a caller who may not call',
    async run(surface) {
      await expectRefusal(surface, { method: 'target.strict', input: { id: 'no-uuid' }, token: undefined }, [
        'unauthenticated',
      ])
    },
  },
  {
    name: 'input that is larger than the procedure takes',
    async run(surface) {
      const input = { text: 'x'.repeat(64 * 1024) }
      await expectRefusal(surface, { method: 'target.small', input, token: 'alice' }, ['too-large'])
      await expectOk(surface, { method: 'target.small', input: { text: 'x' }, token: 'alice' })
    },
  },
  {
    name: 'a handler that crashes tells the caller nothing of why',
    async run(surface) {
      const outcome = await surface.call({ method: 'target.crash', input: undefined, token: undefined })
      assert.ok(!outcome.ok, 'target.crash was answered')
      assert.equal(outcome.kind, 'internal')
      assert.ok(!JSON.stringify(outcome).includes(crashSecret), 'the answer holds what the handler threw')
    },
  },
  {
    name: 'a late handler is answered at its deadline, and its signal aborts',
    async run(surface) {
      await expectRefusal(
        surface,
        { method: 'target.late', input: undefined, token: undefined },
        ['timeout'],
        false,
      )
      await surface.host.lateAborted
    },
  },
]

function refused(
  name: string,
  procedure: string,
  token: string | undefined,
  kind: ErrorKind,
  input?: unknown,
): SurfaceAttack {
  return {
    name,
    run: (surface) => expectRefusal(surface, { method: `target.${procedure}`, input, token }, [kind]),
  }
}

/** A public procedure sees an anonymous caller, unless the surface refuses the connection that the call would come by. */
function nobody(name: string, token: string): SurfaceAttack {
  return {
    name,
    async run(surface) {
      const outcome = await surface.call({ method: 'target.whoami', input: {}, token })
      if (!outcome.ok) {
        assert.equal(outcome.kind, 'unauthenticated')
        return
      }
      assert.equal((await whoami(surface, token, {})).kind, 'anonymous')
    },
  }
}

/** The call must be refused as one of the kinds, and no handler must have run (unless `untouched` is false). */
export async function expectRefusal(
  surface: SurfaceAdapter,
  request: SurfaceRequest,
  kinds: readonly ErrorKind[],
  untouched = true,
): Promise<void> {
  const before = surface.host.ran.length
  const outcome = await surface.call(request)
  const what = `${request.method} as ${request.token ?? 'nobody'}`
  assert.ok(!outcome.ok, `${what} was answered`)
  assert.ok(
    kinds.includes(outcome.kind),
    `${what} was refused as ${outcome.kind} (${outcome.code}), not as ${kinds.join(' or ')}`,
  )
  if (untouched) assert.equal(surface.host.ran.length, before, `${what} was refused, but a handler ran`)
}

export async function expectOk(surface: SurfaceAdapter, request: SurfaceRequest): Promise<unknown> {
  const outcome = await surface.call(request)
  assert.ok(
    outcome.ok,
    `${request.method} as ${request.token ?? 'nobody'} was refused: ${JSON.stringify(outcome)}`,
  )
  return outcome.output
}

/** Whom a handler saw. */
export async function whoami(
  surface: SurfaceAdapter,
  token: string | undefined,
  input: unknown,
): Promise<SeenCaller> {
  return (await expectOk(surface, { method: 'target.whoami', input, token })) as SeenCaller
}
