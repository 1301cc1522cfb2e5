import { service, withServices } from '@quintet/core'
import { scopes } from '@quintet/example-platform/scopes'
import { asSystem } from '@quintet/rls'
import { z } from 'zod'
import { Name } from './account-schema.ts'
import { addMachine, listMachines, removeMachine } from './machines.ts'
import type { AuthServices } from './services.ts'

const { procedure } = withServices<AuthServices>()

const Scopes = z
  .array(z.enum(scopes))
  .min(1)
  .refine((all) => new Set(all).size === all.length, 'must hold each once')

/** What owners let machines do in their tenant: each has a key, for which `/token` gives short-lived tokens. */
export const machines = service('machines', {
  add: procedure(
    {
      access: { roles: ['owner'] },
      freshness: 'strict',
      description:
        'Adds a machine, and tells its key this once. Both end with the account or the role of who has added it.',
      input: z.strictObject({ name: Name, scopes: Scopes, days: z.int().min(1).max(400).default(90) }),
      output: z.object({ id: z.uuid(), key: z.string() }),
    },
    async ({ input, services, principal }) => addMachine(services, principal, input),
  ),

  list: procedure(
    {
      access: { roles: ['owner'] },
      description: 'Lists the machines of the tenant, with what their keys begin with.',
      input: z.strictObject({}),
      output: z.object({
        items: z.array(
          z.object({
            id: z.uuid(),
            name: z.string(),
            scopes: z.array(z.string()),
            prefix: z.string(),
            addedBy: z.uuid(),
            expiresAt: z.iso.datetime(),
            lastUsedAt: z.iso.datetime().nullable(),
          }),
        ),
      }),
    },
    async ({ services, principal }) => {
      const all = await asSystem('list machines', () => listMachines(services.db, principal.tenantId))
      return {
        items: all.map(({ id, name, scopes: may, key_prefix, added_by, expires_at, last_used_at }) => ({
          id,
          name,
          scopes: may,
          prefix: key_prefix,
          addedBy: added_by,
          expiresAt: expires_at.toISOString(),
          lastUsedAt: last_used_at?.toISOString() ?? null,
        })),
      }
    },
  ),

  remove: procedure(
    {
      access: { roles: ['owner'] },
      freshness: 'strict',
      description: 'Removes a machine. Its key and its tokens end at once.',
      input: z.strictObject({ id: z.uuid() }),
      output: z.object({}),
    },
    async ({ input, services, principal }) => {
      await removeMachine(services, principal, input.id)
      return {}
    },
  ),
})
