import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { findIsolationFlaws, openAppDatabase } from '@quintet/example-platform/testing'
import { postgresUrl } from '@quintet/test-kit'
import { expect, it } from 'vitest'
import { policies } from '../src/policies.ts'

/** A tenant's own row has its id; a second row of the same tenant there cannot be. */
const taken = new Set<string>()
const tenantRow = ({ tenantId }: { readonly tenantId: string }): { readonly id: string; slug: string } => {
  const id = taken.has(tenantId) ? randomUUID() : tenantId
  taken.add(tenantId)
  return { id, slug: `t-${id}` }
}

it('keeps tenants apart, whatever they try, and passes the lint', async () => {
  await using database = await openAppDatabase(
    postgresUrl(),
    resolve(import.meta.dirname, '../src/migrations'),
  )
  expect(
    await findIsolationFlaws(
      database,
      policies,
      { tenants: { row: tenantRow } },
      {
        // Hashes of random tokens, in a table that tenants have no right to.
        ignore: ['unique-across-tenants:public.tickets.tickets_pkey'],
      },
    ),
  ).toEqual([])
})
