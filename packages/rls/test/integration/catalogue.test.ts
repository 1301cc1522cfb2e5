import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ownerPolicy, sharedPolicy, systemOnlyPolicy, tenantPolicy } from '../../src/index.ts'
import { policiesToSql } from '../../src/migrations.ts'
import {
  diffPolicies,
  formatLint,
  formatPolicyDiff,
  generateTypes,
  lint,
  lintCatalogue,
  planPolicies,
  readCatalogue,
  readDeclaredSnapshot,
  readPolicySnapshot,
  type LintFinding,
  type LintOptions,
  type PolicyChange,
} from '../../src/catalogue.ts'
import { formatPolicySnapshot } from '../../src/testing.ts'
import { createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants
let owner: Client
let admin: Client

beforeAll(async () => {
  fixture = await createTwoTenants()
  owner = new Client({ connectionString: fixture.ownerUrl })
  await owner.connect()
  admin = new Client({ connectionString: fixture.adminUrl })
  await admin.connect()
})
afterAll(async () => {
  await owner.end()
  await admin.end()
  await fixture.drop()
})

/** Lints the database with some statements of the administrator in force, and takes them back. */
const lintWith = async (
  statements: readonly string[] = [],
  options: Partial<LintOptions> = {},
): Promise<readonly LintFinding[]> => {
  const { tenant, login, system, owner: ownerRole } = fixture.roles
  await admin.query('begin')
  try {
    for (const statement of statements) {
      await admin.query(
        statement
          .replaceAll('TENANT', tenant)
          .replaceAll('LOGIN', login)
          .replaceAll('SYSTEM', system)
          .replaceAll('OWNER', ownerRole)
          .replaceAll('DATABASE', fixture.name),
      )
    }
    return await lintCatalogue(admin, { tenantRoles: [tenant, login], ...options })
  } finally {
    await admin.query('rollback')
  }
}

describe('policiesToSql', () => {
  const policiesOf = async (): Promise<string[]> => {
    const { rows } = await owner.query<{ name: string }>(
      "select polname as name from pg_policy where polrelid = 'notes'::regclass order by 1",
    )
    return rows.map(({ name }) => name)
  }
  const inTransaction = async (run: () => Promise<void>): Promise<void> => {
    await owner.query('begin')
    try {
      await run()
    } finally {
      await owner.query('rollback')
    }
  }
  const apply = async (...policies: Parameters<typeof policiesToSql>[0][number][]): Promise<void> => {
    for (const statement of policiesToSql(policies, fixture.roles)) await owner.query(statement)
  }

  it('leaves exactly the policies that are declared', async () => {
    await inTransaction(async () => {
      await apply(ownerPolicy('notes', { column: 'tenant_id' }), tenantPolicy('notes', { for: ['select'] }))
      expect(await policiesOf()).toEqual(['notes_owner', 'notes_system', 'notes_tenant_select'])
      await apply(ownerPolicy('notes', { column: 'tenant_id' }))
      expect(await policiesOf()).toEqual(['notes_owner', 'notes_system'])
    })
  })

  it.each(['TENANT', 'public'])('refuses by name a permissive policy of others for %s', async (role) => {
    await inTransaction(async () => {
      await owner.query(
        `create policy mine on notes to ${role === 'TENANT' ? fixture.roles.tenant : role} using (true)`,
      )
      await expect(apply(tenantPolicy('notes'))).rejects.toThrow(/notes admits tenants .* not declared: mine/)
    })
  })

  it('gives a table to the system alone, and takes it from tenants who had it', async () => {
    await inTransaction(async () => {
      await apply(systemOnlyPolicy('notes'))
      expect(await policiesOf()).toEqual(['notes_system'])
      const { rows } = await owner.query('select has_table_privilege($1, $2, $3) as may', [
        fixture.roles.tenant,
        'notes',
        'select, insert, update, delete',
      ])
      expect(rows).toEqual([{ may: false }])
      expect(() => policiesToSql([systemOnlyPolicy('notes'), tenantPolicy('notes')], fixture.roles)).toThrow(
        /notes: is for the system login alone/,
      )
    })
  })

  it('keeps a restrictive policy of others', async () => {
    await inTransaction(async () => {
      await owner.query('create policy narrow on notes as restrictive to public using (size > 0)')
      await apply(tenantPolicy('notes'))
      expect(await policiesOf()).toEqual(['narrow', 'notes_system', 'notes_tenant'])
    })
  })
})

describe('lintCatalogue', () => {
  it('has nothing to say about a provisioned database with generated policies', async () => {
    expect(await lintWith()).toEqual([])
  })

  const policy = (expression: string): string =>
    `create policy p on notes for select to TENANT using (${expression})`

  it.each([
    ['rls-disabled', ['alter table notes disable row level security']],
    ['force-missing', ['alter table notes no force row level security']],
    ['no-policy', ['drop policy notes_tenant on notes']],
    [
      'nullable-tenant',
      [
        'create table loose (id int primary key, tenant_id uuid)',
        'alter table loose enable row level security',
        'alter table loose force row level security',
      ],
    ],
    ['grant-to-public', ['grant select on notes to public']],
    ['unchecked-privilege', ['grant truncate on notes to TENANT']],
    ['default-grant', ['alter default privileges for role OWNER grant select on tables to TENANT']],
    ['temporary-tables', ['grant temporary on database DATABASE to public']],
    ['view-without-invoker', ['create view v as select * from notes', 'grant select on v to TENANT']],
    ['materialized-view', ['create materialized view v as select 1 as n', 'grant select on v to TENANT']],
    [
      'security-definer',
      [
        "create function f() returns int language sql security definer as 'select 1'",
        'grant execute on function f() to TENANT',
      ],
    ],
    ['rls-disabled', ['create table plain (id int, label text)', 'grant select (label) on plain to TENANT']],
    ['grant-to-public', ['grant select (title) on notes to public']],
    ['policy-for-public', ['create policy p on notes for select to public using (false)']],
    ...['for update to TENANT using (true)', 'for insert to TENANT with check (true)'].map(
      (clause): [string, string[]] => [
        'always-true',
        [
          'create table common (id int)',
          'alter table common enable row level security',
          'alter table common force row level security',
          `create policy p on common ${clause}`,
        ],
      ],
    ),
    ['create-privilege', ['grant create on schema public to TENANT']],
    ['create-privilege', ['create schema other', 'grant create on schema other to public']],
    ['create-privilege', ['grant create on database DATABASE to LOGIN']],
    [
      'security-definer-trigger',
      [
        "create function f() returns trigger language plpgsql security definer as 'begin return new; end'",
        'create trigger t after insert on notes for each row execute function f()',
      ],
    ],
    ['rewrite-rule', ['create rule r as on insert to notes do also notify told']],
    ...['superuser', 'bypassrls', 'createrole', 'replication', 'createdb'].flatMap((attribute) =>
      ['TENANT', 'LOGIN'].map((role): [string, string[]] => [
        'role-attribute',
        [`alter role ${role} ${attribute}`],
      ]),
    ),
    ...[
      'pg_execute_server_program',
      'pg_read_server_files',
      'pg_write_server_files',
      'pg_read_all_data',
      'pg_write_all_data',
      'pg_read_all_settings',
      'pg_read_all_stats',
      'pg_monitor',
      'pg_stat_scan_tables',
      'pg_signal_backend',
      'pg_checkpoint',
      'SYSTEM',
      'OWNER',
    ].map((role): [string, string[]] => ['role-membership', [`grant ${role} to LOGIN`]]),
    [
      'role-membership',
      ['create role between_them', 'grant between_them to LOGIN', 'grant SYSTEM to between_them'],
    ],
    ['role-membership', ['grant SYSTEM to TENANT']],
    ...['pg_read_file(text)', 'pg_ls_dir(text)', 'lo_import(text)', 'pg_reload_conf()'].map(
      (name): [string, string[]] => ['system-function', [`grant execute on function ${name} to TENANT`]],
    ),
    ...[
      'lo_creat(integer)',
      'lo_create(oid)',
      'lo_from_bytea(oid, bytea)',
      'lo_get(oid)',
      'lo_open(oid, integer)',
      'lo_put(oid, bigint, bytea)',
      'lo_unlink(oid)',
    ].map((name): [string, string[]] => ['large-objects', [`grant execute on function ${name} to public`]]),
    ['large-objects', ['select lo_create(4711)', 'grant select on large object 4711 to TENANT']],
    ['unindexed-foreign-key', ['create table kin (id int primary key, parent int references kin)']],
    [
      'unindexed-foreign-key',
      [
        'create table kin (id int primary key, parent int references kin)',
        'create index on kin (parent) where id > 3',
      ],
    ],
    [
      'unindexed-foreign-key',
      [
        'create table kin (id int primary key, parent int references kin)',
        'create index on kin (id, parent)',
      ],
    ],
    ['system-flag-in-policy', [policy("(select current_setting('app.is_system', true)) = 'true'")]],
    [
      'setting-outside-subselect',
      [policy("tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid")],
    ],
    ['setting-without-nullif', [policy("tenant_id = (select current_setting('app.tenant_id', true)::uuid)")]],
    ['column-cast', [policy("tenant_id::text = (select current_setting('app.tenant_id', true))")]],
    [
      'function-in-policy',
      [
        "create function mine() returns uuid language sql as 'select null::uuid'",
        policy('tenant_id = mine()'),
      ],
    ],
    [
      'unindexed-policy-column',
      [
        'alter table notes drop constraint notes_pkey',
        'alter table notes drop constraint notes_tenant_id_title_key',
      ],
    ],
    ['unique-across-tenants', ['create unique index by_title on notes (title)']],
    [
      'foreign-key-across-tenants',
      [
        'create unique index by_id on notes (id)',
        'create table replies (tenant_id uuid not null, id int references notes (id))',
      ],
    ],
    ['expression-index', ['create index by_lower on notes (lower(title))']],
  ])('reports %s, once: %j', async (rule, statements) => {
    const findings = await lintWith(statements)
    const found = findings.filter((finding) => finding.rule === rule)
    expect(found, formatLint(findings)).toHaveLength(1)
    expect(new Set(findings.map(({ object, message }) => `${object} ${message}`)).size).toBe(findings.length)
  })

  it.each([
    ['using (true)', ['tenant-not-implied']],
    ["using ((select current_setting('app.is_system', true)) = 'true')", ['system-flag-in-policy']],
  ])('reports one fault of a policy %s once', async (clause, rules) => {
    const findings = await lintWith([`create policy p on notes for all to TENANT ${clause}`])
    expect(findings.map(({ rule }) => rule)).toEqual(rules)
  })

  it('reports what is granted to everybody once per table', async () => {
    const findings = await lintWith([
      'grant all on notes to public',
      'grant select (title, size) on notes to public',
    ])
    expect(findings.map(({ rule, object }) => [rule, object])).toEqual([['grant-to-public', 'public.notes']])
  })

  const tenant = "(select nullif(current_setting('app.tenant_id', true), '')::uuid)"
  const columns = 'alter table notes add deleted_at timestamptz, add published boolean, add org_id uuid'

  it.each([
    ['for select', 'using (true)'],
    ['for all', 'using (true)'],
    ['for select', 'using (1 = 1)'],
    ['for select', 'using (deleted_at is null)'],
    ['for select', 'using (published is not true)'],
    ['for select', 'using (not (size > 3))'],
    ['for select', `using (tenant_id = ${tenant} or published)`],
    ['for select', `using (title = ') AND (' or tenant_id = ${tenant})`],
    ['for select', `using (case when published then true else tenant_id = ${tenant} end)`],
    ['for select', "using (tenant_id = (select nullif(current_setting('app.user_id', true), '')::uuid))"],
    ['for select', "using (tenant_id = (select nullif(current_setting('app.tenant', true), '')::uuid))"],
    ['for select', `using (org_id = ${tenant})`],
    ['for select', `using (${tenant} is null or tenant_id = ${tenant})`],
    ['for select', `using (tenant_id = coalesce(${tenant}, tenant_id))`],
    ['for select', `using (tenant_id <> ${tenant})`],
    [
      'for select',
      `using (tenant_id = ${tenant} or (select current_setting('app.roles', true)) = 'support')`,
    ],
    ['for select', `using (case title when 'open' then true else tenant_id = ${tenant} end)`],
    [
      'for select',
      `using (case when size > 3 then tenant_id = ${tenant} else case when published then true else false end end)`,
    ],
    ['for select', `using (tenant_id = ${tenant} or current_user like '%tenant')`],
    ['for select', `using (tenant_id = ${tenant} or session_user <> 'nobody')`],
    ['for delete', 'using (tenant_id is not null)'],
    ['for insert', 'with check (tenant_id is not null)'],
    ['for update', `using (tenant_id = ${tenant}) with check (tenant_id is not null)`],
  ])('reports a policy %s %s that does not imply the tenant, beside a right one', async (command, clause) => {
    const findings = await lintWith([
      columns,
      `create policy p on notes ${command} to ${fixture.roles.tenant} ${clause}`,
    ])
    expect(findings, formatLint(findings)).toContainEqual(
      expect.objectContaining({ rule: 'tenant-not-implied', severity: 'error', object: 'public.notes.p' }),
    )
  })

  it.each([
    [
      'a condition beside the tenant',
      [`create policy p on notes to TENANT using (tenant_id = ${tenant} and (published or size > 3))`],
    ],
    [
      'a CASE whose every way asks for the tenant',
      [
        `create policy p on notes to TENANT using (case when tenant_id is distinct from ${tenant} then false when published then true else size > 3 end)`,
      ],
    ],
    [
      'an exemption for another login',
      [`create policy p on notes to TENANT using (tenant_id = ${tenant} or current_user = 'SYSTEM')`],
    ],
    ['a policy that admits nothing', ['create policy p on notes to TENANT using (false)']],
    ['tenants in another order', [`create policy p on notes to TENANT using (${tenant} = tenant_id)`]],
    [
      'a wide policy under a restrictive one',
      [
        'create policy p on notes for select to TENANT using (deleted_at is null)',
        `create policy narrow on notes as restrictive to TENANT using (tenant_id = ${tenant})`,
      ],
    ],
    [
      'a membership',
      [
        'create table members (tenant_id uuid, user_id uuid)',
        "create policy p on notes to TENANT using (tenant_id in (select m.tenant_id from members m where m.user_id = (select nullif(current_setting('app.user_id', true), '')::uuid)))",
      ],
    ],
    [
      'tenants that are numbers',
      [
        'create table numbered (tenant_id bigint not null primary key)',
        'alter table numbered enable row level security',
        'alter table numbered force row level security',
        "create policy p on numbered to TENANT using (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::bigint))",
      ],
    ],
    [
      'a partition that is granted to nobody',
      [
        'create table parted (tenant_id uuid not null, id int) partition by list (id)',
        'alter table parted enable row level security',
        'alter table parted force row level security',
        'create table parted_1 partition of parted for values in (1)',
      ],
    ],
    [
      'a rule that does nothing, and one on a table that is granted to nobody',
      [
        'create rule r as on delete to notes where size > 3 do instead nothing',
        'create table inside (id int)',
        'create rule r as on insert to inside do also notify told',
      ],
    ],
    [
      'a trigger with the rights of its owner on a table that tenants only read',
      [
        "create function f() returns trigger language plpgsql security definer as 'begin return new; end'",
        'create trigger t after insert on notes for each row execute function f()',
        'revoke insert, update, delete on notes from TENANT',
      ],
    ],
    [
      'a foreign key that finds its rows by an index, in whatever order and without those that refer to nothing',
      [
        'create table sort (id int primary key)',
        'create table kin (a int, b int, c int references sort, primary key (a, b), foreign key (b, a) references kin)',
        'create index on kin (c) where c is not null',
      ],
    ],
    [
      'a view whose security_invoker is spelled yes',
      ['create view v with (security_invoker = yes) as select * from notes', 'grant select on v to TENANT'],
    ],
  ])('raises no alarm for %s', async (_, statements) => {
    const findings = await lintWith([columns, ...statements])
    const alarms = findings.filter(
      ({ severity, object }) => severity === 'error' && !object.endsWith('.members'),
    )
    expect(alarms, formatLint(findings)).toEqual([])
    expect(findings.map(({ rule }) => rule)).not.toContain('policy-not-evaluated')
  })

  it('raises no alarm for an expression index that tenants read nothing through', async () => {
    const findings = await lintWith([
      'create table inner_work (tenant_id uuid not null, id uuid primary key, label text)',
      'alter table inner_work enable row level security',
      'alter table inner_work force row level security',
      'create index by_lower on inner_work (lower(label))',
      `create policy add on inner_work for insert to ${fixture.roles.tenant} with check (tenant_id = ${tenant})`,
    ])
    expect(findings, formatLint(findings)).toEqual([])
  })

  const setting = `(select nullif(current_setting('app.tenant_id', true), '')::uuid)`
  it.each([
    `tenant_id = case when status = 'public' then tenant_id else ${setting} end`,
    `(case when status = 'public' then true else tenant_id = ${setting} end) is true`,
    `coalesce(case when status = 'public' then true end, tenant_id = ${setting})`,
    `coalesce(nullif(tenant_id = ${setting}, false), status = 'public')`,
    `greatest(tenant_id = ${setting}, status = 'public')`,
    `((tenant_id = ${setting})::int + (status = 'public')::int) > 0`,
    `tenant_id in (${setting}, case when length(status) > 3 then tenant_id end)`,
    `array[tenant_id] && array[${setting}, partner_id]`,
    `tenant_id = partner_id`,
  ])('does not let pass what may admit rows of others by their other columns: %s', async (expression) => {
    const findings = await lintWith([
      'create table shared (tenant_id uuid not null, status text, partner_id uuid)',
      'alter table shared enable row level security, force row level security',
      `create policy p on shared for select to TENANT using (${expression})`,
    ])
    expect(findings).toContainEqual(
      expect.objectContaining({
        rule: expect.stringMatching(/^(?:policy-not-evaluated|tenant-not-implied)$/),
        object: 'public.shared.p',
      }),
    )
  })

  it('tells a policy that it cannot evaluate', async () => {
    const findings = await lintWith([
      'create function broken() returns boolean language sql as $$ select true $$',
      `create policy p on notes for select to ${fixture.roles.tenant} using (broken())`,
      `create or replace function broken() returns boolean language plpgsql as $$ begin raise exception 'no'; end $$`,
    ])
    expect(findings).toContainEqual(
      expect.objectContaining({ rule: 'policy-not-evaluated', object: 'public.notes.p' }),
    )
  })

  it('reports a foreign table that is granted to tenants', async () => {
    const catalogue = await readCatalogue(owner)
    const [notes] = catalogue.relations
    if (notes === undefined) throw new Error('notes is missing')
    const foreign = { ...catalogue, relations: [{ ...notes, kind: 'foreign-table' as const }] }
    const findings = lint(foreign, { tenantRoles: [fixture.roles.tenant] })
    expect(findings.map(({ rule }) => rule)).toContain('foreign-table')
  })

  it('works inside a transaction and outside of one, and leaves neither changed', async () => {
    const options = { tenantRoles: [fixture.roles.tenant] }
    expect(await lintCatalogue(owner, options)).toEqual([])
    await expect(owner.query('savepoint outside')).rejects.toMatchObject({ code: '25P01' })
    await owner.query("begin; select set_config('app.tenant_id', 'mine', true)")
    await lintCatalogue(owner, options)
    const { rows } = await owner.query("select current_setting('app.tenant_id') as setting")
    await owner.query('rollback')
    expect(rows).toEqual([{ setting: 'mine' }])
    await expect(lintCatalogue(fixture.pgPool(), options)).rejects.toThrow(/needs a connection of its own/)
  })

  it('reports an owner that tenants work under, and an old server', async () => {
    const catalogue = await readCatalogue(owner)
    const findings = lint({ ...catalogue, serverVersion: 150_002 }, { tenantRoles: [fixture.roles.owner] })
    expect(findings.map(({ rule }) => rule)).toEqual(
      expect.arrayContaining(['owner-is-tenant', 'server-version']),
    )
  })

  it('leaves out what is ignored, by rule or by place, and knows another tenant column', async () => {
    const catalogue = await readCatalogue(owner)
    const bad = {
      ...catalogue,
      relations: catalogue.relations.map((relation) => ({ ...relation, forced: false })),
    }
    const tenantRoles = [fixture.roles.tenant]
    expect(lint(bad, { tenantRoles })).toMatchObject([{ rule: 'force-missing', object: 'public.notes' }])
    expect(lint(bad, { tenantRoles, ignore: ['force-missing'] })).toEqual([])
    expect(lint(bad, { tenantRoles, ignore: ['force-missing:public.notes'] })).toEqual([])
    const bySize = lint(catalogue, { tenantRoles, tenantColumn: 'size' })
    expect(bySize.map(({ rule }) => rule)).toContain('unique-across-tenants')
  })
})

describe('drift', () => {
  it('is what the database has otherwise than the snapshot that is expected', async () => {
    const expected = await readPolicySnapshot(owner)
    const drift = async (...statements: readonly string[]) => {
      const findings = await lintWith(statements, { expected })
      return findings.filter(({ rule }) => rule === 'policy-drift')
    }
    expect(await drift()).toEqual([])
    expect(await drift('create policy by_hand on notes for select to TENANT using (size > 0)')).toMatchObject(
      [{ severity: 'error', object: 'public.notes', message: expect.stringContaining('by_hand') }],
    )
    expect(await drift('drop policy notes_tenant on notes')).toMatchObject([{ severity: 'warning' }])
  })

  it('is found against what the migrations make, whatever the roles are called there', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'quintet-drift-'))
    const { roles, adminUrl } = fixture
    try {
      await writeFile(
        join(folder, '0001_notes.ts'),
        `import { applyPolicies, currentRoles } from '${new URL('../../src/migrations.ts', import.meta.url).href}'
import { tenantPolicy } from '${new URL('../../src/index.ts', import.meta.url).href}'
export async function up(db) {
  await db.schema.createTable('notes').addColumn('id', 'integer', (c) => c.notNull()).addColumn('tenant_id', 'uuid').execute()
  await applyPolicies(db, [tenantPolicy('notes')], await currentRoles(db))
}
`,
      )
      const expected = await readDeclaredSnapshot({ adminUrl, folder, roles })
      expect(diffPolicies(expected, await readPolicySnapshot(owner))).toEqual([])
      const findings = await lintWith(['grant truncate on notes to TENANT'], { expected })
      expect(findings).toContainEqual(
        expect.objectContaining({
          rule: 'policy-drift',
          message: `is not as it is declared: grants truncate to ${roles.tenant}.`,
        }),
      )
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('diffPolicies', () => {
  const diffAfter = async (...statements: readonly string[]): Promise<readonly PolicyChange[]> => {
    const { roles } = fixture
    await admin.query('begin')
    try {
      const before = await readPolicySnapshot(admin)
      for (const statement of statements)
        await admin.query(
          statement
            .replaceAll('TENANT', roles.tenant)
            .replaceAll('SYSTEM', roles.system)
            .replaceAll('LOGIN', roles.login),
        )
      const changes = diffPolicies(before, await readPolicySnapshot(admin), {
        trustedRoles: [roles.system, roles.owner],
      })
      return changes
    } finally {
      await admin.query('rollback')
    }
  }

  it.each([
    ['safe', 'create table fresh (id int)'],
    ['safe', 'alter role SYSTEM createdb'],
    ['dangerous', 'alter role TENANT bypassrls'],
    ['dangerous', 'alter role LOGIN createrole'],
    ['dangerous', 'grant pg_read_all_data to TENANT'],
    ['dangerous', 'grant pg_read_all_data to LOGIN'],
    ['dangerous', 'create schema other; grant all on schema other to TENANT'],
    ['dangerous', 'grant create on schema public to TENANT'],
    ['dangerous', 'alter default privileges grant all on tables to TENANT'],
    ['dangerous', 'grant select on notes to TENANT with grant option'],
    ['safe', 'create policy s on notes for all to SYSTEM using (true)'],
    ['dangerous', 'alter table notes disable row level security'],
    ['dangerous', 'alter table notes no force row level security'],
    ['dangerous', 'create policy wide on notes for select to TENANT using (true)'],
    ['dangerous', 'alter policy notes_tenant on notes using (true)'],
    ['dangerous', 'alter policy notes_tenant on notes to TENANT, public'],
    ['dangerous', 'grant truncate on notes to TENANT'],
    ['breaking', 'create policy narrow on notes as restrictive for select to TENANT using (size > 0)'],
    ['breaking', 'drop policy notes_tenant on notes'],
    ['breaking', 'revoke delete on notes from TENANT'],
    ['breaking', 'drop table notes'],
    ['breaking', 'alter policy notes_tenant on notes using (false) with check (false)'],
    [
      'breaking',
      "alter policy notes_tenant on notes using (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid) and size > 0) with check (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid) and size > 0)",
    ],
    [
      'dangerous',
      "alter policy notes_tenant on notes using (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid) or size > 0)",
    ],
  ])('calls it %s: %s', async (verdict, statement) => {
    const changes = await diffAfter(statement)
    expect(changes.length).toBeGreaterThan(0)
    expect(new Set(changes.map((change) => change.class)), formatPolicyDiff(changes)).toEqual(
      new Set([verdict]),
    )
  })

  const definer = "create function f() returns int language sql security definer as 'select 1'"
  const forTenants = ['revoke execute on function f() from public', 'grant execute on function f() to TENANT']
  const view = 'create view v with (security_invoker = on) as select title from notes'

  it.each([
    ['a table of theirs', [], ['alter table notes owner to TENANT'], 'belongs to'],
    [
      'a column',
      [],
      ['grant select (title) on notes to LOGIN'],
      'grants select (title) to LOGIN: LOGIN may see more',
    ],
    [
      'a new table',
      [],
      ['create table fresh (id int)', 'grant select on fresh to TENANT'],
      'a new table is open',
    ],
    ['a view', [], [view, 'grant select on v to TENANT'], 'a new view is open: TENANT may see and do more'],
    [
      'the rights of a view',
      [view, 'grant select on v to TENANT'],
      ['alter view v reset (security_invoker)'],
      'security_invoker is turned off: TENANT',
    ],
    [
      'the query of a view with the rights of its owner',
      ['create view v as select title from notes where size = 0', 'grant select on v to TENANT'],
      ['create or replace view v as select title from notes'],
      'the query of the view is another one: TENANT',
    ],
    ['a function', [definer], ['grant execute on function f() to TENANT'], 'may be called by TENANT: TENANT'],
    [
      'the rights of a function',
      ["create function f() returns int language sql as 'select 1'", ...forTenants],
      ['alter function f() security definer'],
      'is SECURITY DEFINER now: TENANT',
    ],
    [
      'what a function does',
      [definer, ...forTenants],
      ["create or replace function f() returns int language sql security definer as 'select 2'"],
      'does something else: TENANT',
    ],
    [
      'what a trigger does',
      [
        "create function f() returns trigger language plpgsql security definer as 'begin return new; end'",
        'create trigger t after insert on notes for each row execute function f()',
      ],
      [
        "create or replace function f() returns trigger language plpgsql security definer as 'begin return null; end'",
      ],
      'does something else: TENANT',
    ],
    [
      'rows',
      [],
      ['create policy wide on notes for select to TENANT using (true)'],
      'is new: TENANT may see more',
    ],
    [
      'rows for everybody',
      [],
      ['alter policy notes_tenant on notes to public'],
      ': everybody may see and do more',
    ],
  ])('says who gets %s', async (_, before, after, text) => {
    await admin.query('begin')
    const { tenant, login, system, owner: ownerRole } = fixture.roles
    const run = async (statements: readonly string[]) => {
      for (const statement of statements)
        await admin.query(statement.replaceAll('TENANT', tenant).replaceAll('LOGIN', login))
      return readPolicySnapshot(admin)
    }
    const changes = diffPolicies(await run(before), await run(after), { trustedRoles: [system, ownerRole] })
    await admin.query('rollback')
    expect(changes.filter((change) => change.class === 'dangerous').length).toBeGreaterThan(0)
    expect(formatPolicyDiff(changes)).toContain(text.replaceAll('TENANT', tenant).replaceAll('LOGIN', login))
  })

  it.each([
    ['a table that is closed', [], ['create table fresh (id int)']],
    [
      'a view with the rights of who reads it, with another query',
      [view, 'grant select on v to TENANT'],
      ['create or replace view v with (security_invoker = on) as select title from notes where size > 0'],
    ],
    [
      'a function that nobody calls',
      [definer, 'revoke execute on function f() from public'],
      ["create or replace function f() returns int language sql security definer as 'select 2'"],
    ],
  ])('calls safe: %s', async (_, before, after) => {
    await admin.query('begin')
    const run = async (statements: readonly string[]) => {
      for (const statement of statements)
        await admin.query(statement.replaceAll('TENANT', fixture.roles.tenant))
      return readPolicySnapshot(admin)
    }
    const { system, owner: ownerRole } = fixture.roles
    const changes = diffPolicies(await run(before), await run(after), {
      trustedRoles: [system, ownerRole, 'postgres'],
    })
    await admin.query('rollback')
    expect(changes.map((change) => change.class)).toEqual(['safe'])
  })

  it('tells of a group that tenants become members of, and of one that they leave', async () => {
    const { tenant } = fixture.roles
    const group = `helpdesk_${process.pid}`
    await admin.query('begin')
    try {
      await admin.query(`create role ${group}`)
      await admin.query(`create policy group_policy on notes for select to ${group} using (true)`)
      const before = await readPolicySnapshot(admin)
      await admin.query(`grant ${group} to ${tenant}`)
      const after = await readPolicySnapshot(admin)
      expect(diffPolicies(before, after)).toEqual([
        {
          ...{ object: `role ${tenant}`, class: 'dangerous', change: `is a member of ${group} now` },
          ...{ roles: [tenant], gain: 'see and do' },
        },
      ])
      expect(diffPolicies(after, before)).toMatchObject([
        { object: `role ${tenant}`, class: 'breaking', change: `is no longer a member of ${group}` },
      ])
    } finally {
      await admin.query('rollback')
    }
  })

  it('plans no policies over a pool, whose connections share no transaction', async () => {
    const before = await readPolicySnapshot(owner)
    const pool = fixture.pgPool({ connectionString: fixture.ownerUrl })
    await expect(planPolicies(pool, [sharedPolicy('notes')], fixture.roles)).rejects.toThrow(
      /planPolicies: needs a connection of its own/,
    )
    expect(await readPolicySnapshot(owner)).toEqual(before)
  })

  it('plans policies without changing anything', async () => {
    const before = await readPolicySnapshot(owner)
    const plan = await planPolicies(owner, [sharedPolicy('notes')], fixture.roles)
    const changes = diffPolicies(plan.before, plan.after, {
      trustedRoles: [fixture.roles.system, fixture.roles.owner],
    })
    expect(formatPolicyDiff(changes)).toContain(
      'dangerous  public.notes: the policy notes_shared_select for select is new',
    )
    expect(formatPolicyDiff(changes)).toContain('breaking   public.notes: no longer grants insert')
    expect(await readPolicySnapshot(owner)).toEqual(before)
    const same = await planPolicies(owner, [tenantPolicy('notes')], fixture.roles)
    expect(formatPolicyDiff(diffPolicies(same.before, same.after))).toBe('The policies are the same.')
  })
})

describe('formatPolicySnapshot', () => {
  it('has views, functions with rights of their own, and rights to columns', async () => {
    const before = formatPolicySnapshot(await readPolicySnapshot(owner))
    await owner.query('begin')
    await owner.query(`create view v with (security_invoker = on) as select 2 as two;
      create view w as select 1 as one; grant select on v to ${fixture.roles.tenant};
      grant select (title) on notes to ${fixture.roles.login};
      create function f() returns int language sql security definer as 'select 1';
      create function g() returns int language sql as 'select 1'; grant execute on function f() to ${fixture.roles.tenant}`)
    const after = formatPolicySnapshot(await readPolicySnapshot(owner))
    await owner.query('rollback')
    const lines = new Set(before.split('\n'))
    const added = after.split('\n').filter((line) => !lines.has(line))
    expect(added.join('\n').replaceAll(fixture.name, 'app')).toMatchInlineSnapshot(`
      "  grant select (title) to app_login
      public.v: view with the rights of who reads it, SELECT 2 AS two;
      public.w: view with the rights of app_owner, SELECT 1 AS one;
      public.f(): function with the rights of app_owner, sha256 822ae07d4783158bc1912bb623e5107cc9002d519e1143a9c200ed6ee18b6d0f
        grant execute to app_system
        grant execute to app_tenant"
    `)
  })

  it('writes one line per policy and grant', async () => {
    const text = formatPolicySnapshot(await readPolicySnapshot(owner)).replaceAll(fixture.name, 'app')
    expect(text).toMatchInlineSnapshot(`
      "public.notes: row-level security, forced
        policy notes_system: all for app_owner, app_system using true check true
        policy notes_tenant: all for app_tenant using (tenant_id = ( SELECT (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid AS "nullif")) check (tenant_id = ( SELECT (NULLIF(current_setting('app.tenant_id'::text, true), ''::text))::uuid AS "nullif"))
        grant delete to app_system
        grant delete to app_tenant
        grant insert to app_system
        grant insert to app_tenant
        grant select to app_system
        grant select to app_tenant
        grant update to app_system
        grant update to app_tenant
      schema information_schema: of postgres
        grant usage to public
      schema pg_catalog: of postgres
        grant usage to public
      schema public: of app_owner
        grant usage to app_system
        grant usage to app_tenant
        grant usage to public
      database: of app_owner
        grant connect to app_login
        grant connect to app_system
      role postgres: superuser, bypassrls, createrole, replication, createdb, member of app_owner
      role app_login: member of app_tenant
      role app_owner: no rights of its own
      role app_system: no rights of its own
      role app_tenant: no rights of its own
      tables that app_owner creates:
        grant delete to app_system
        grant insert to app_system
        grant select to app_system
        grant update to app_system
      "
    `)
  })
})

describe('generateTypes', () => {
  const generate = async (...statements: readonly string[]): Promise<string> => {
    await owner.query('begin')
    try {
      for (const statement of statements) await owner.query(statement)
      return await generateTypes(owner, { schemas: ['public', 'other'] })
    } finally {
      await owner.query('rollback')
    }
  }

  it('writes interfaces for Kysely', async () => {
    const text = await generate(
      "create type mood as enum ('fine', 'it''s poor', 'a \\ b')",
      `create table kinds (id bigint generated always as identity primary key, feeling mood not null, tags text[], price numeric,
        data jsonb not null default '{}', made timestamptz not null default now(), raw bytea, double int generated always as (1) stored,
        took interval not null default '1 day', place point, "odd ' name" int)`,
    )
    expect(text).toMatchInlineSnapshot(`
      "// Generated from the database. Generate it again after a migration instead of changing it.

      import type { ColumnType, Generated, GeneratedAlways } from 'kysely'

      export interface Interval {
        years?: number
        months?: number
        days?: number
        hours?: number
        minutes?: number
        seconds?: number
        milliseconds?: number
        toPostgres(): string
      }

      export interface Point {
        x: number
        y: number
      }

      export interface KindsTable {
        id: GeneratedAlways<string>
        feeling: 'fine' | 'it\\'s poor' | 'a \\\\ b'
        tags: string[] | null
        price: string | null
        data: Generated<unknown>
        made: Generated<Date>
        raw: Buffer | null
        double: GeneratedAlways<number | null>
        took: ColumnType<Interval, Interval | string | undefined, Interval | string>
        place: ColumnType<Point | null, string | null, string | null>
        'odd \\' name': number | null
      }

      export interface NotesTable {
        id: GeneratedAlways<number>
        tenant_id: string
        title: string
        size: Generated<number>
      }

      export interface Database {
        kinds: KindsTable
        notes: NotesTable
      }
      "
    `)
  })

  const is = {
    number: (value: unknown) => typeof value === 'number',
    string: (value: unknown) => typeof value === 'string',
    boolean: (value: unknown) => typeof value === 'boolean',
    Date: (value: unknown) => value instanceof Date,
    Buffer: (value: unknown) => Buffer.isBuffer(value),
    Interval: (value: unknown) => typeof (value as { toPostgres?: unknown }).toPostgres === 'function',
    Point: (value: unknown) => Object.keys(value as object).join() === 'x,y',
    Circle: (value: unknown) => Object.keys(value as object).join() === 'x,y,radius',
    unknown: (value: unknown) => typeof value === 'object',
    "'glad' | 'sad'": (value: unknown) => value === 'glad' || value === 'sad',
  }

  it.each([
    ['int2', '1', 'number'],
    ['int4', '1', 'number'],
    ['int8', '1', 'string'],
    ['float4', '1.5', 'number'],
    ['float8', '1.5', 'number'],
    ['numeric(10,2)', '1.5', 'string'],
    ['money', '1.5', 'string'],
    ['oid', '1', 'number'],
    ['boolean', 'true', 'boolean'],
    ['text', 'a', 'string'],
    ['varchar(10)', 'a', 'string'],
    ['char(3)', 'a', 'string'],
    ['"char"', 'a', 'string'],
    ['name', 'a', 'string'],
    ['citext_like', 'a', 'string'],
    ['uuid', '00000000-0000-4000-8000-000000000001', 'string'],
    ['bytea', '\\x00', 'Buffer'],
    ['json', '{}', 'unknown'],
    ['jsonb', '{}', 'unknown'],
    ['date', '2026-01-01', 'Date'],
    ['time', '01:00', 'string'],
    ['timetz', '01:00+01', 'string'],
    ['timestamp(3)', '2026-01-01', 'Date'],
    ['timestamptz', '2026-01-01', 'Date'],
    ['interval', '1 day', 'Interval'],
    ['interval day to second(3)', '1 day', 'Interval'],
    ['point', '(1,2)', 'Point'],
    ['circle', '<(1,2),3>', 'Circle'],
    ['box', '(1,2),(3,4)', 'string'],
    ['inet', '10.0.0.1', 'string'],
    ['macaddr', '08:00:2b:01:02:03', 'string'],
    ['int4range', '[1,2)', 'string'],
    ['numrange', '[1,2)', 'string'],
    ['bit(3)', '101', 'string'],
    ['xml', '<a/>', 'string'],
    ['tsvector', 'a', 'string'],
    ['mood', 'glad', "'glad' | 'sad'"],
    ['happy', 'glad', "'glad' | 'sad'"],
    ['whole', '1', 'number'],
    ['wholes', '{1}', 'number[]'],
    ['pair', '(1,a)', 'string'],
    ['int2[]', '{1}', 'number[]'],
    ['int4[]', '{1}', 'number[]'],
    ['int8[]', '{1}', 'string[]'],
    ['float8[]', '{1.5}', 'number[]'],
    ['numeric(10,2)[]', '{1.5}', 'number[]'],
    ['boolean[]', '{true}', 'boolean[]'],
    ['text[]', '{a}', 'string[]'],
    ['varchar(10)[]', '{a}', 'string[]'],
    ['char(3)[]', '{a}', 'string[]'],
    ['name[]', '{a}', 'string'],
    ['uuid[]', '{00000000-0000-4000-8000-000000000001}', 'string[]'],
    ['bytea[]', '{}', 'Buffer[]'],
    ['jsonb[]', '{}', 'unknown[]'],
    ['date[]', '{2026-01-01}', 'Date[]'],
    ['time[]', '{01:00}', 'string[]'],
    ['timetz[]', '{01:00+01}', 'string[]'],
    ['timestamptz[]', '{2026-01-01}', 'Date[]'],
    ['interval[]', '{1 day}', 'Interval[]'],
    ['point[]', '{"(1,2)"}', 'Point[]'],
    ['circle[]', '{"<(1,2),3>"}', 'string'],
    ['money[]', '{1.5}', 'string[]'],
    ['inet[]', '{10.0.0.1}', 'string[]'],
    ['cidr[]', '{10.0.0.0/8}', 'string[]'],
    ['macaddr[]', '{08:00:2b:01:02:03}', 'string[]'],
    ['numrange[]', '{"[1,2)"}', 'string[]'],
    ['int4range[]', '{"[1,2)"}', 'string'],
    ['bit(3)[]', '{101}', 'string'],
    ['xml[]', '{<a/>}', 'string'],
    ['mood[]', '{glad}', 'string'],
    ['happy[]', '{glad}', 'string'],
    ['pair[]', '{}', 'string'],
  ])('says of %s what pg makes of it', async (type, value, expected) => {
    const made = [
      "create type mood as enum ('glad', 'sad')",
      "create domain happy as mood check (value = 'glad')",
      'create domain whole as int',
      'create domain wholes as int[]',
      'create domain citext_like as text',
      'create type pair as (a int, b text)',
      `create table kinds (value ${type} not null)`,
    ]
    const text = await generate(...made)
    const [, read = ''] =
      /value: (?:ColumnType<(.*?), .*>|(.*))\n/.exec(text)?.filter((part) => part !== undefined) ?? []
    expect(read).toBe(expected)
    await owner.query('begin')
    try {
      for (const statement of made) await owner.query(statement)
      await owner.query(`insert into kinds values ($1)`, [value])
      const { rows } = await owner.query<{ value: unknown }>('select value from kinds')
      const values = expected.endsWith('[]') ? rows[0]?.value : [rows[0]?.value]
      expect(values).toBeInstanceOf(Array)
      const check = is[expected.replace(/\[\]$/, '') as keyof typeof is]
      expect((values as unknown[]).every(check), JSON.stringify(values)).toBe(true)
    } finally {
      await owner.query('rollback')
    }
  })

  it('knows that a domain may refuse null, or have a default', async () => {
    const text = await generate(
      'create domain whole as int not null',
      'create domain zero as int default 0',
      'create table kinds (a whole, b zero, c zero not null)',
    )
    expect(text).toContain('  a: number\n  b: Generated<number | null>\n  c: Generated<number>\n')
  })

  it('tells tables apart whose names come to one, and refuses those that are one in Kysely', async () => {
    const text = await generate(
      'create schema other',
      'create table foo_bar (a int)',
      'create table "fooBar" (b int)',
      'create table "größe" (c int)',
      'create table "1st" (d int)',
      'create table other.foo_bar (e int)',
    )
    const names = [...text.matchAll(/interface (\S+) /g)].map(([, name]) => name)
    expect(new Set(names).size).toBe(names.length)
    expect(text).toContain("  '1st': Table1st\n  fooBar: FooBarTable\n  foo_bar: FooBarTable2\n")
    expect(text).toContain("  'größe': GrößeTable\n")
    expect(text).toContain("  'other.foo_bar': OtherFooBarTable\n")
    await expect(
      generate('create schema other', 'create table "other.foo" (a int)', 'create table other.foo (a int)'),
    ).rejects.toThrow(/two tables go by the name "other.foo"/)
  })
})

it('keeps statements of policies readable', () => {
  expect(policiesToSql([tenantPolicy('notes')], { tenant: 't', system: 's', owner: 'o' }))
    .toMatchInlineSnapshot(`
      [
        "do $policies$
      declare old name;
      begin
        for old in select polname from pg_catalog.pg_policy where polrelid = 'notes'::regclass
          and obj_description(oid, 'pg_policy') = 'quintet' loop
          execute format('drop policy %I on notes', old);
        end loop;
      end $policies$",
        "alter table notes enable row level security",
        "alter table notes force row level security",
        "drop policy if exists notes_system on notes",
        "create policy notes_system on notes for all to s, o using (true) with check (true)",
        "comment on policy notes_system on notes is 'quintet'",
        "drop policy if exists notes_tenant on notes",
        "create policy notes_tenant on notes for all to t using (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid)) with check (tenant_id = (select nullif(current_setting('app.tenant_id', true), '')::uuid))",
        "comment on policy notes_tenant on notes is 'quintet'",
        "do $policies$
      declare others text;
      begin
        select string_agg(polname, ', ' order by polname) into others from pg_catalog.pg_policy
        where polrelid = 'notes'::regclass and polpermissive
          and coalesce(obj_description(oid, 'pg_policy'), '') <> 'quintet'
          and exists (
            select from unnest(polroles) held, pg_catalog.pg_roles tenant where tenant.rolname = 't'
              and case held when 0 then true else pg_catalog.pg_has_role(tenant.oid, held, 'MEMBER') end
          );
        if others is not null then
          raise exception 'the table % admits tenants by policies that are not declared: %', 'notes', others
            using hint = 'Drop them, or declare them with customPolicy.';
        end if;
      end $policies$",
        "revoke all on notes from public, t",
        "grant select, insert, update, delete on notes to t",
        "grant select, insert, update, delete on notes to s",
      ]
    `)
})
