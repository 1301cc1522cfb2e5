import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import {
  expectOk,
  expectRefusal,
  whoami,
  type SurfaceAdapter,
  type SurfaceAttack,
  type SurfaceOutcome,
  type SurfaceRequest,
} from './surface-attacks.ts'

/** A surface whose callers write their input as JSON text, so that they can write anything. */
export interface TextSurface extends SurfaceAdapter {
  /** Sends the text where the input belongs. */
  callWithText(request: Omit<SurfaceRequest, 'input'> & { readonly text: string }): Promise<SurfaceOutcome>
}

/** A surface that takes more from its callers than an input, such as headers and a query. */
export interface ForgeableSurface extends SurfaceAdapter {
  /** As `call`, with each of the names and texts in every such place. */
  callForged(request: SurfaceRequest, forged: Readonly<Record<string, string>>): Promise<SurfaceOutcome>
}

/** A surface whose callers wait for the answer, and may go away before it. */
export interface LeavableSurface extends SurfaceAdapter {
  /** Makes the call, and breaks the connection (or gives up) when `begun` resolves. */
  callAndLeave(request: SurfaceRequest, begun: Promise<void>): Promise<void>
}

const malformed = [
  '{',
  '{"id":',
  '{"id":"x"}}',
  '{"id":"x"} trailing',
  "{'id':'x'}",
  'nul',
  'undefined',
  'NaN',
  '"\\u12"',
  '\u0000',
  '[1,]',
  '{"id":"\n"}',
]
const deep = 100_000

/** Input that is no JSON, or more than it seems. The surface refuses it, and goes on answering. */
export const textAttacks: readonly SurfaceAttack<TextSurface>[] = [
  {
    name: 'text that is not JSON',
    async run(surface) {
      for (const text of malformed) {
        await refuses(surface, 'target.whoami', text, ['invalid-input'])
      }
    },
  },
  {
    name: 'JSON that nests too deep',
    async run(surface) {
      const text = `{"a":${'['.repeat(deep)}${']'.repeat(deep)}}`
      await refuses(surface, 'target.whoami', text, ['invalid-input', 'too-large'])
    },
  },
  {
    name: 'a member named __proto__',
    async run(surface) {
      const outcome = await surface.callWithText({
        method: 'target.whoami',
        text: '{"__proto__":{"userId":"admin","roles":["admin"]}}',
        token: 'bob',
      })
      if (outcome.ok) assert.equal((outcome.output as { readonly userId: string }).userId, 'bob')
      else assert.equal(outcome.kind, 'invalid-input')
      assert.equal(({} as { readonly userId?: unknown }).userId, undefined)
    },
  },
]

async function refuses(
  surface: TextSurface,
  method: string,
  text: string,
  kinds: Parameters<typeof expectRefusal>[2],
): Promise<void> {
  const send: SurfaceAdapter = {
    host: surface.host,
    call: ({ token }) => surface.callWithText({ method, text, token }),
  }
  await expectRefusal(
    send,
    { method: `${method} with ${text.slice(0, 20)}`, input: undefined, token: 'alice' },
    kinds,
  )
  assert.equal((await whoami(surface, 'alice', {})).userId, 'alice')
}

/** What an attacker writes into headers and queries, hoping that the server takes it for context. */
const forged: Readonly<Record<string, string>> = {
  'x-user-id': 'admin',
  'x-tenant-id': 'tenant-a',
  'x-roles': 'admin',
  'x-forwarded-user': 'admin',
  'x-principal': '{"kind":"system","roles":["admin"]}',
  'x-auth-context': '{"userId":"admin","roles":["admin"],"isSystem":true}',
  'x-quintet-principal': '{"kind":"system"}',
  userId: 'admin',
  tenantId: 'tenant-a',
  roles: 'admin',
  isSystem: 'true',
  principal: '{"kind":"system","roles":["admin"]}',
  authContext: '{"userId":"admin","roles":["admin"],"isSystem":true}',
  // The token of an administrator, where a token does not belong.
  token: 'admin',
  access_token: 'admin',
  'x-access-token': 'admin',
}

/** Context forged beside the input. Only the credentials say who calls. */
export const forgedContextAttacks: readonly SurfaceAttack<ForgeableSurface>[] = [
  {
    name: 'context forged in headers and query changes nobody',
    async run(surface) {
      const send: SurfaceAdapter = {
        host: surface.host,
        call: (request) => surface.callForged(request, forged),
      }
      const bob = await whoami(send, 'bob', {})
      assert.deepEqual(
        [bob.userId, bob.tenantId, bob.roles, bob.scopeTenantId],
        ['bob', 'tenant-b', [], 'tenant-b'],
      )
      assert.equal((await whoami(send, undefined, {})).kind, 'anonymous')
      for (const procedure of ['mine', 'admin', 'permitted', 'internal', 'tenant']) {
        await expectRefusal(send, { method: `target.${procedure}`, input: undefined, token: undefined }, [
          'unauthenticated',
        ])
      }
      for (const procedure of ['admin', 'permitted', 'internal', 'tenant']) {
        await expectRefusal(send, { method: `target.${procedure}`, input: undefined, token: 'bob' }, [
          'forbidden',
        ])
      }
    },
  },
]

/** Callers who do not wait for the answer. */
export const leavingAttacks: readonly SurfaceAttack<LeavableSurface>[] = [
  {
    name: 'a caller who goes away in the middle of a call',
    async run(surface) {
      const { host } = surface
      await surface.callAndLeave(
        { method: 'target.endless', input: undefined, token: 'alice' },
        host.endlessBegun,
      )
      assert.equal(await host.endlessAborted, 'canceled')
      for (let turns = 0; host.pipeline.active > 0 && turns < 1_000; turns++) await turn()
      assert.equal(host.pipeline.active, 0, 'the call that was left is still in progress')
      await expectOk(surface, { method: 'target.mine', input: undefined, token: 'alice' })
    },
  },
]
