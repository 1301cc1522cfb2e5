import { Client, Pool } from 'pg'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { createRlsPool, databaseRoles, runWithRlsContext, tenantPolicy } from '../../src/index.ts'
import { checkRoles, policiesToSql, provisionDatabase } from '../../src/migrations.ts'
import { contextA, createTwoTenants, type TwoTenants } from '../fixtures/two-tenants.ts'

const original = Client.prototype.query

let fixture: TwoTenants

beforeAll(async () => {
  fixture = await createTwoTenants()
})
afterAll(() => fixture.drop())

/** The problems as the login sees them, with some statements in force that are taken back after. */
const problemsWith = async (apply: readonly string[], takeBack: readonly string[]): Promise<string> => {
  for (const statement of apply) await fixture.asAdmin(statement)
  try {
    return (await checkRoles(fixture.pgPool({ max: 1 }), { role: fixture.roles.tenant })).join('\n')
  } finally {
    for (const statement of takeBack) await fixture.asAdmin(statement)
  }
}

describe('checkRoles', () => {
  it('has nothing to say about a provisioned database', async () => {
    expect(await problemsWith([], [])).toBe('')
  })

  it('refuses logins and roles for whom no policy holds', async () => {
    const { login, tenant, owner } = fixture.roles
    expect(
      await problemsWith([`alter role ${login} superuser`], [`alter role ${login} nosuperuser`]),
    ).toMatch(/is a superuser/)
    expect(
      await problemsWith([`alter role ${login} bypassrls`], [`alter role ${login} nobypassrls`]),
    ).toMatch(/has BYPASSRLS/)
    expect(
      await problemsWith([`alter role ${tenant} bypassrls`], [`alter role ${tenant} nobypassrls`]),
    ).toMatch(/has BYPASSRLS/)
    expect(await problemsWith([`grant ${owner} to ${login}`], [`revoke ${owner} from ${login}`])).toMatch(
      /can become/,
    )
    expect(
      await problemsWith(
        ['create table owned ()', `alter table owned owner to ${tenant}`],
        ['drop table owned'],
      ),
    ).toMatch(/owns the table public.owned/)
  })

  it.each(['superuser', 'bypassrls', 'createrole', 'replication'])(
    'refuses a login, a role and one that they can become with %s',
    async (attribute) => {
      const { login, tenant } = fixture.roles
      const other = `${fixture.name}_other`
      for (const role of [login, tenant]) {
        const problems = await problemsWith(
          [`alter role ${role} ${attribute}`],
          [`alter role ${role} no${attribute}`],
        )
        expect(problems).toMatch(new RegExp(`${role} (?:is a|has) ${attribute}`, 'i'))
      }
      expect(
        await problemsWith(
          [`create role ${other} ${attribute}`, `grant ${other} to ${login}`],
          [`drop role ${other}`],
        ),
      ).toMatch(`can become ${other}`)
    },
  )

  it('refuses a login that can become the system login, or has rights on the server', async () => {
    const { login, tenant, system } = fixture.roles
    for (const [role, member] of [
      [system, login],
      [system, tenant],
      ['pg_execute_server_program', login],
    ]) {
      expect(await problemsWith([`grant ${role} to ${member}`], [`revoke ${role} from ${member}`])).toContain(
        `can become ${role}`,
      )
    }
  })

  it('refuses a login that has the rights without a context', async () => {
    const { login, tenant } = fixture.roles
    const [version] = await fixture.asAdmin<{ n: number }>(
      "select current_setting('server_version_num')::int as n",
    )
    const inherits =
      (version?.n ?? 0) >= 160_000
        ? [`grant ${tenant} to ${login} with inherit true`, `grant ${tenant} to ${login} with inherit false`]
        : [`alter role ${login} inherit`, `alter role ${login} noinherit`]
    expect(await problemsWith([inherits[0] ?? ''], [inherits[1] ?? ''])).toMatch(/make it NOINHERIT/)
    expect(await problemsWith([`revoke ${tenant} from ${login}`], [`grant ${tenant} to ${login}`])).toMatch(
      /is no member/,
    )
    expect(await checkRoles(fixture.pgPool(), { role: 'nobody_at_all' })).toEqual([
      expect.stringContaining('does not exist'),
    ])
    expect((await checkRoles(fixture.pgPool(), { role: login })).join()).toMatch(
      /is the tenants' role itself/,
    )
  })

  it('refuses tables without forced row-level security, unless they are named', async () => {
    const { tenant } = fixture.roles
    expect(
      await problemsWith(
        ['alter table notes no force row level security'],
        ['alter table notes force row level security'],
      ),
    ).toMatch(/public.notes has no FORCE/)
    await fixture.asOwner('create table open (id int)', `grant select (id) on open to ${tenant}`)
    expect(await problemsWith([], [])).toMatch(/public.open is open to tenants/)
    expect(await checkRoles(fixture.pgPool(), { role: tenant, unprotectedTables: ['open'] })).toEqual([])
    await fixture.asOwner('drop table open')
  })
})

describe('what the check sees of relations', () => {
  it.each([
    ['a table', 'create table thing (id int)', 'select on thing'],
    ['a column', 'create table thing (id int)', 'select (id) on thing'],
    ['a view', 'create view thing with (security_invoker = on) as select 1 as id', 'select on thing'],
    ['a materialized view', 'create materialized view thing as select 1 as id', 'select on thing'],
    ['a sequence', 'create sequence thing', 'usage on sequence thing'],
  ])('refuses a right of the login itself to %s, and of everybody', async (_, create, right) => {
    const kind = /create (.*?) thing/.exec(create)?.[1] ?? 'table'
    for (const role of [fixture.roles.login, 'public']) {
      const problems = await problemsWith([create, `grant ${right} to ${role}`], [`drop ${kind} thing`])
      expect(problems).toMatch(/login \w+ has a right to public\.thing by itself/)
    }
  })

  it.each([
    ['view', 'create view thing as select * from notes', 'The view public.thing'],
    [
      'materialized view',
      'create materialized view thing as select * from notes',
      'The materialized view public.thing',
    ],
  ])('refuses a %s that passes the policies, unless it is named', async (kind, create, text) => {
    const { tenant } = fixture.roles
    await fixture.asOwner(create, `grant select on thing to ${tenant}`)
    try {
      expect(await problemsWith([], [])).toContain(text)
      expect(await checkRoles(fixture.pgPool(), { role: tenant, unprotectedTables: ['thing'] })).toEqual([])
    } finally {
      await fixture.asOwner(`drop ${kind} thing`)
    }
  })

  it('has nothing against a view with the rights of who reads it, nor a group without policies', async () => {
    const { tenant } = fixture.roles
    const group = `${fixture.name}_group`
    expect(
      await problemsWith(
        [
          'create view thing with (security_invoker = yes) as select * from notes',
          `grant select on thing to ${tenant}`,
          `create role ${group}`,
          `grant ${group} to ${tenant}`,
        ],
        ['drop view thing', `drop role ${group}`],
      ),
    ).toBe('')
  })

  it('refuses a group with policies that are not declared, and so does whoever applies policies', async () => {
    const { tenant } = fixture.roles
    const group = `${fixture.name}_helpdesk`
    await fixture.asAdmin(`create role ${group}`)
    await fixture.asAdmin(`grant ${group} to ${tenant}`)
    try {
      await fixture.asOwner(`create policy of_group on notes to ${group} using (id > 0)`)
      expect(await problemsWith([], [])).toContain(`can become ${group}, which has`)
      const apply = () => fixture.asOwner(...policiesToSql([tenantPolicy('notes')], fixture.roles))
      await expect(apply()).rejects.toThrow(/admits tenants by policies that are not declared: of_group/)
      await fixture.asOwner('drop policy of_group on notes')
      await apply()
    } finally {
      await fixture.asAdmin(`drop role ${group}`)
    }
  })

  it.each(['truncate', 'trigger', 'references'])(
    'refuses a right to %s, which no policy holds',
    async (right) => {
      const { tenant } = fixture.roles
      expect(
        await problemsWith(
          [`grant ${right} on notes to ${tenant}`],
          [`revoke ${right} on notes from ${tenant}`],
        ),
      ).toContain(`Tenants may ${right.toUpperCase()} the table public.notes`)
    },
  )
})

describe('a pool over unsafe roles', () => {
  it('does not work until told not to check', async () => {
    const superuser = new Pool({ connectionString: fixture.adminUrl, max: 1 })
    const pool = createRlsPool(superuser, { role: fixture.roles.tenant })
    const attempt = runWithRlsContext(contextA, () => pool.query('select 1'))
    await expect(attempt).rejects.toMatchObject({ code: 'ERR_RLS_UNSAFE_ROLES' })
    await expect(pool.connect()).rejects.toThrow(/is a superuser/)
    const unchecked = createRlsPool(superuser, { role: fixture.roles.tenant, check: false })
    expect((await runWithRlsContext(contextA, () => unchecked.query('select 1 as one'))).rows).toEqual([
      { one: 1 },
    ])
    await pool.end()
  })

  it('works once the roles have been mended', async () => {
    const pool = fixture.pool()
    const ask = () => runWithRlsContext(contextA, () => pool.query('select 1 as one'))
    await fixture.asAdmin(`alter role ${fixture.roles.tenant} bypassrls`)
    await expect(ask()).rejects.toMatchObject({ code: 'ERR_RLS_UNSAFE_ROLES' })
    await fixture.asAdmin(`alter role ${fixture.roles.tenant} nobypassrls`)
    expect((await ask()).rows).toEqual([{ one: 1 }])
  })

  it('stops to work when ready finds them unsafe, and says so only then', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    try {
      const pool = fixture.pool()
      const ask = () => runWithRlsContext(contextA, () => pool.query('select 1 as one'))
      await pool.ready()
      await fixture.asOwner('create table later (id int)', `grant select on later to ${fixture.roles.tenant}`)
      await pool.ready()
      vi.advanceTimersByTime(31_000)
      await expect(pool.ready()).rejects.toMatchObject({ code: 'ERR_RLS_UNSAFE_ROLES' })
      await expect(ask()).rejects.toMatchObject({ code: 'ERR_RLS_UNSAFE_ROLES' })
      await fixture.asOwner('drop table later')
      await pool.ready()
      expect((await ask()).rows).toEqual([{ one: 1 }])
    } finally {
      vi.useRealTimers()
    }
  })

  it('asks again after the server could not be reached', async () => {
    const lost = new Pool({ host: '127.0.0.1', port: 1, max: 1 })
    const pool = createRlsPool(lost, { role: 'x' })
    await expect(pool.query('select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await expect(pool.query('select 1')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    await pool.end()
  })
})

describe('provisionDatabase', () => {
  it('brings the same database about again, also twice at once', async () => {
    const again = () => provisionDatabase({ adminUrl: fixture.adminUrl, name: fixture.name })
    const [first, second] = await Promise.all([again(), again()])
    expect(first).toEqual(second)
    expect(first.url).toBe(fixture.url)
    expect(await problemsWith([], [])).toBe('')
  })

  it('creates the database where there is none, with the given passwords', async () => {
    const name = `${fixture.name}_b`
    const made = await provisionDatabase({
      adminUrl: fixture.adminUrl,
      name,
      passwords: { owner: "o'w", login: 'l', system: 's' },
    })
    try {
      expect(new URL(made.ownerUrl).password).toBe("o'w")
      const owner = new Client({ connectionString: made.ownerUrl })
      await owner.connect()
      await owner.query('create table mine (id int)')
      await owner.end()
    } finally {
      await fixture.asAdmin(`drop database ${name} with (force)`)
      for (const role of Object.values(made.roles)) await fixture.asAdmin(`drop role ${role}`)
    }
  })

  it('gives URLs over a Unix socket their logins', async () => {
    const [folder] = await fixture.asAdmin<{ path: string }>(
      "select split_part(current_setting('unix_socket_directories'), ',', 1) as path",
    )
    const url = new URL(fixture.adminUrl)
    const socket = new URL('postgres:///postgres')
    socket.searchParams.set('host', folder?.path ?? '')
    socket.searchParams.set('port', url.port)
    socket.searchParams.set('user', decodeURIComponent(url.username))
    if (url.password !== '') socket.searchParams.set('password', decodeURIComponent(url.password))
    const name = `${fixture.name}_s`
    const made = await provisionDatabase({
      adminUrl: socket.href,
      name,
      passwords: { owner: 'o', login: 'l', system: 's' },
    })
    try {
      for (const [key, role] of [
        ['ownerUrl', 'owner'],
        ['url', 'login'],
        ['systemUrl', 'system'],
      ] as const) {
        const client = new Client({ connectionString: made[key] })
        await client.connect()
        const { rows } = await client.query('select session_user::text as login')
        await client.end()
        expect(rows).toEqual([{ login: made.roles[role] }])
      }
    } finally {
      await fixture.asAdmin(`drop database ${name} with (force)`)
      for (const role of Object.values(made.roles)) await fixture.asAdmin(`drop role ${role}`)
    }
  })

  it('sends no password, only what the server stores of it', async () => {
    const statements: string[] = []
    const query = vi.spyOn(Client.prototype, 'query')
    query.mockImplementation(function (this: Client, ...args: unknown[]) {
      statements.push(String(args[0]))
      return (original as (...all: unknown[]) => unknown).apply(this, args) as never
    })
    try {
      await provisionDatabase({
        adminUrl: fixture.adminUrl,
        name: fixture.name,
        passwords: { owner: 'clear as day', login: 'clear as day', system: 'clear as day' },
        rotate: true,
      })
    } finally {
      query.mockRestore()
      await provisionDatabase({ adminUrl: fixture.adminUrl, name: fixture.name, rotate: true })
    }
    expect(statements.filter((text) => text.includes('SCRAM-SHA-256$'))).toHaveLength(3)
    expect(statements.filter((text) => text.includes('clear as day'))).toEqual([])
  })

  it('alters no login that exists, unless told to', async () => {
    const logins = () =>
      fixture.asAdmin(
        `select rolname, rolcanlogin, rolinherit, rolcreatedb, rolpassword, xmin::text from pg_authid
         where rolname like $1 order by 1`,
        [`${fixture.name}\\_%`],
      )
    const passwords = { owner: 'o', login: 'l', system: 's' }
    await fixture.asAdmin(`alter role ${fixture.roles.system} createdb`)
    const before = await logins()
    await provisionDatabase({ adminUrl: fixture.adminUrl, name: fixture.name })
    await expect(
      provisionDatabase({ adminUrl: fixture.adminUrl, name: fixture.name, passwords }),
    ).rejects.toMatchObject({
      code: 'ERR_RLS_LOGIN_EXISTS',
      kind: 'conflict',
      details: { login: fixture.roles.owner },
    })
    expect(await logins()).toEqual(before)

    const rotated = await provisionDatabase({
      adminUrl: fixture.adminUrl,
      name: fixture.name,
      passwords,
      rotate: true,
    })
    expect(new URL(rotated.url).password).toBe('l')
    expect(await logins()).not.toEqual(before)
    await provisionDatabase({ adminUrl: fixture.adminUrl, name: fixture.name, rotate: true })
  })

  describe('on a database of another login that is in use', () => {
    const shop = (): string => `${fixture.name}_shop`
    let app: Client

    beforeEach(async () => {
      const name = shop()
      await fixture.asAdmin(`create role ${name} login password 'x'`)
      await fixture.asAdmin(`create database ${name} owner ${name}`)
      app = await connectAs(name)
      await app.query('create table orders (id int primary key, tenant_id uuid not null)')
      await app.query(`insert into orders values (1, '${contextA.tenantId}')`)
    })
    afterEach(async () => {
      const name = shop()
      await app.end()
      await fixture.asAdmin(`drop database ${name} with (force)`)
      for (const role of [name, ...Object.values(databaseRoles(name))])
        await fixture.asAdmin(`drop role if exists ${role}`)
    })

    const connectAs = async (login: string): Promise<Client> => {
      const url = new URL(fixture.adminUrl)
      Object.assign(url, { pathname: `/${shop()}`, username: login, password: 'x' })
      const client = new Client({ connectionString: url.href })
      client.on('error', () => undefined)
      await client.connect()
      return client
    }

    it('touches nothing unless adopt is set', async () => {
      await expect(provisionDatabase({ adminUrl: fixture.adminUrl, name: shop() })).rejects.toMatchObject({
        code: 'ERR_RLS_DATABASE_EXISTS',
        kind: 'conflict',
        details: { database: shop(), owner: shop() },
      })
      const again = await connectAs(shop())
      await again.query('create table more ()')
      await again.end()
      expect(
        await fixture.asAdmin('select rolname from pg_roles where rolname like $1', [`${shop()}\\_%`]),
      ).toEqual([])
    })

    it('adopts it step by step, as the README says, while its app goes on', async () => {
      const name = shop()
      const made = await provisionDatabase({ adminUrl: fixture.adminUrl, name, adopt: true })
      const works = async (): Promise<number | null> => {
        const client = await connectAs(name)
        const { rowCount } = await client.query('select from orders')
        await client.end()
        return rowCount
      }
      expect(await works()).toBe(1)
      const url = new URL(fixture.adminUrl)
      url.pathname = `/${name}`
      const admin = new Client({ connectionString: url.href })
      await admin.connect()
      await admin.query(`grant ${made.roles.owner} to ${name}`)
      await admin.query(`reassign owned by ${name} to ${made.roles.owner}`)
      expect(await works()).toBe(1)
      const owner = new Client({ connectionString: made.ownerUrl })
      await owner.connect()
      for (const statement of policiesToSql([tenantPolicy('orders')], made.roles))
        await owner.query(statement)
      await owner.end()
      expect(await works()).toBe(1)
      const pool = createRlsPool(new Pool({ connectionString: made.url }), { role: made.roles.tenant })
      const rows = await runWithRlsContext(contextA, () => pool.query('select id from orders'))
      expect(rows.rows).toEqual([{ id: 1 }])
      await pool.end()
      await admin.query(`revoke ${made.roles.owner} from ${name}`)
      await admin.query(`revoke connect on database ${name} from ${name}`)
      await admin.end()
      await expect(connectAs(name)).rejects.toThrow('permission denied for database')
    })
  })

  it('takes over an empty database that an administrator has made', async () => {
    const name = `${fixture.name}_empty`
    await fixture.asAdmin(`create database ${name}`)
    const made = await provisionDatabase({ adminUrl: fixture.adminUrl, name })
    await fixture.asAdmin(`drop database ${name} with (force)`)
    for (const role of Object.values(made.roles)) await fixture.asAdmin(`drop role ${role}`)
  })

  it('refuses names that are none and options it does not know', async () => {
    await expect(provisionDatabase({ adminUrl: fixture.adminUrl, name: 'a; drop' })).rejects.toThrow(
      /no database name/,
    )
    await expect(provisionDatabase({ adminUrl: '', name: 'a', password: 'x' } as never)).rejects.toThrow(
      /unknown key/,
    )
  })
})
