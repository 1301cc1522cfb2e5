import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runWithRlsContext } from '../../src/index.ts'
import { createTwoTenants, tenantA, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants

beforeAll(async () => {
  fixture = await createTwoTenants()
})
afterAll(() => fixture.drop())

describe('the share of a tenant', () => {
  it.each([
    ['uuid', tenantA, tenantA.toUpperCase()],
    ['bigint', '7', '07'],
  ] as const)('is one for all spellings of its id, of type %s', async (tenantIdType, tenantId, otherwise) => {
    const pool = fixture.pool({ tenantIdType, tenantConnections: 1 }, { connectionTimeoutMillis: 2_000 })
    const held = await runWithRlsContext({ tenantId }, () => pool.connect())
    await expect(
      runWithRlsContext({ tenantId: otherwise }, () => pool.query('select 1')),
    ).rejects.toMatchObject({ code: 'ERR_RLS_TENANT_BUSY' })
    held.release()
    await pool.end()
  })
})
