import { describe, expect, expectTypeOf, it } from 'vitest'
import {
  contextSetting,
  currentTenantDefault,
  customPolicy,
  databaseRoles,
  hasAnyRole,
  ownerPolicy,
  rolePolicy,
  sharedPolicy,
  tenantPolicy,
  typedPolicies,
} from '../../src/index.ts'
import { policiesToDownSql, policiesToSql } from '../../src/migrations.ts'
import { knownFlaw } from '../../src/roles/server-version.ts'
import { quoteName, quoteTable, quoteText } from '../../src/sql/sql-text.ts'

const roles = databaseRoles('app')

describe('policies', () => {
  it('cast the setting and never the column', () => {
    expect(contextSetting('tenant_id')).toBe(
      "(select nullif(current_setting('app.tenant_id', true), '')::uuid)",
    )
    expect(contextSetting('user_id', 'text')).toBe(
      "(select nullif(current_setting('app.user_id', true), ''))",
    )
    expect(currentTenantDefault()).toBe("(nullif(current_setting('app.tenant_id', true), ''))::uuid")
    expect(tenantPolicy('a', { column: 'org', type: 'bigint' }).using).toBe(
      `org = ${contextSetting('tenant_id', 'bigint')}`,
    )
    expect(ownerPolicy('a', { tenantColumn: null, column: 'by' }).using).toBe(
      `by = ${contextSetting('user_id')}`,
    )
    expect(hasAnyRole(["it's"])).toContain("array['it''s']")
  })

  const created = (sql: readonly string[]): string[] =>
    sql.flatMap((each) => /^create policy (?:"([^"]+)"|(\S+)) on/.exec(each)?.slice(1).find(Boolean) ?? [])

  it.each(['t', 'ü', 'x_'])('of a table with a name of 62 bytes (%s) stay apart', (letter) => {
    const table = letter.repeat(62 / Buffer.byteLength(letter))
    const names = created(policiesToSql([tenantPolicy(table, { for: ['insert', 'select'] })], roles))
    expect(names).toHaveLength(3)
    // PostgreSQL cuts a name after 63 bytes.
    const kept = names.map((name) => Buffer.from(name).subarray(0, 63).toString())
    expect(new Set(kept).size).toBe(3)
    expect(kept).toEqual(names)
    // The first one is that of the system login, which stays.
    const dropped = policiesToDownSql([tenantPolicy(table, { for: ['insert', 'select'] })], roles).join()
    for (const name of names.slice(1)) expect(dropped).toContain(name)
  })

  it('of one table under two names are all applied', () => {
    const [both, one] = [
      [
        tenantPolicy('a', { for: ['select'] }),
        customPolicy('public.a', { for: ['insert'], using: 'true', name: 'own' }),
      ],
      [
        tenantPolicy('a', { for: ['select'] }),
        customPolicy('a', { for: ['insert'], using: 'true', name: 'own' }),
      ],
    ] as const
    expect(policiesToSql(both, roles)).toEqual(policiesToSql(one, roles))
    expect(() => policiesToSql([tenantPolicy('a'), tenantPolicy('public.a')], roles)).toThrow('two policies')
  })

  it('become one policy for all operations, or one for each', () => {
    const sql = policiesToSql(
      [tenantPolicy('a', { for: ['insert', 'select'] }), sharedPolicy('b')],
      roles,
    ).join('\n')
    expect(sql).toContain('create policy a_tenant_select on a for select to app_tenant using (')
    expect(sql).toContain('create policy a_tenant_insert on a for insert to app_tenant with check (')
    expect(sql).toContain('grant select, insert on a to app_tenant')
    expect(sql).toContain('create policy b_shared_select on b for select to app_tenant using (true)')
    expect(sql).not.toContain('is_system')
    const down = policiesToDownSql([rolePolicy('s.a', { roles: ['x'], name: 'admins' })], roles)
    expect(down).toEqual(['revoke all on s.a from app_tenant', 'drop policy if exists a_admins on s.a'])
  })

  it('refuse what makes no sense', () => {
    expect(() => tenantPolicy('a', { colum: 'x' } as never)).toThrow(/Did you mean "column"/)
    expect(() => tenantPolicy('a', { for: ['read' as never] })).toThrow(/give some of select/)
    expect(() => tenantPolicy('a', { name: 'A b' })).toThrow(/lower-case/)
    expect(() => rolePolicy('a', { roles: [] })).toThrow(/at least one role/)
    expect(() => customPolicy('a', { using: ' ' })).toThrow(/using is empty/)
    expect(() => policiesToSql([tenantPolicy('a'), tenantPolicy('a')], roles)).toThrow(
      /two policies are called tenant/,
    )
    expect(() => databaseRoles('Robert; drop')).toThrow(TypeError)
  })

  it('know the tables and columns of a Kysely schema', () => {
    const policies = typedPolicies<{ notes: { id: number; org: string } }>()
    expect(policies.tenant('notes', { column: 'org' }).tenantColumn).toBe('org')
    expectTypeOf(policies.tenant<'notes'>)
      .parameter(0)
      .toEqualTypeOf<'notes'>()
    // @ts-expect-error the table does not exist
    policies.tenant('nodes')
    // @ts-expect-error the column does not exist
    policies.owner('notes', { column: 'owner' })
  })
})

describe('knownFlaw', () => {
  it.each([150_013, 160_009, 170_005, 140_018, 90_600])('refuses %i', (version) => {
    expect(knownFlaw(version)).toMatch(/known flaws|no longer maintained/)
  })
  it.each([150_014, 160_010, 170_006, 180_000, 190_001])('accepts %i', (version) => {
    expect(knownFlaw(version)).toBeUndefined()
  })
})

describe('names and texts', () => {
  it('are quoted where they must be', () => {
    expect(quoteName('plain_1')).toBe('plain_1')
    expect(quoteName('Odd "Name"')).toBe('"Odd ""Name"""')
    expect(quoteName('user')).toBe('"user"')
    expect(quoteTable('s.Order')).toBe('s."Order"')
    expect(quoteText("it's \\ that")).toBe(" E'it''s \\\\ that'")
    expect(() => quoteName('')).toThrow(TypeError)
  })
})
