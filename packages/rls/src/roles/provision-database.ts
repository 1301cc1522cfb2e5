import { createHmac } from 'node:crypto'
import { option, readOptions } from '@quintet/core/kit'
import { Client } from 'pg'
import { databaseRoles, type DatabaseRoles } from './database-roles.ts'
import { RlsError } from '../errors.ts'
import { largeObjectFunctions } from './large-objects.ts'
import { scramVerifier } from './scram-verifier.ts'
import { quoteName, quoteText } from '../sql/sql-text.ts'

export interface ProvisionOptions {
  /** URL of a login that may create databases and roles. */
  readonly adminUrl: string
  /** Name of the database; the roles are named after it. */
  readonly name: string
  /**
   * Passwords of the logins. A login without one gets a password derived from the administrator's, or
   * none where the administrator has none. They are given to logins that are created; one that exists keeps
   * its own, which must be the same, unless `rotate` is set.
   */
  readonly passwords?: { readonly owner?: string; readonly login?: string; readonly system?: string }
  /**
   * Give logins that exist the passwords and attributes too. Whoever still connects with an old password is
   * refused from then on.
   * @defaultValue false
   */
  readonly rotate?: boolean
  /**
   * Whose the database is, e.g. `shop/orders`. It is written on the database when that is made; one that is somebody
   * else's by its note is refused, whatever its roles are called.
   * @defaultValue it is not said
   */
  readonly subject?: string
  /**
   * Take over a database that belongs to another role and holds tables. Its former owner keeps its tables and may
   * connect; other logins need CONNECT of their own from then on.
   * @defaultValue false
   */
  readonly adopt?: boolean
}

export interface ProvisionedDatabase {
  /** For migrations: the login that owns the tables. */
  readonly ownerUrl: string
  /** For the app: the tenants' login. */
  readonly url: string
  /** For work across tenants. */
  readonly systemUrl: string
  readonly roles: DatabaseRoles
}

const spec = {
  adminUrl: option.text(),
  name: option.text(),
  passwords: option.nested({
    owner: option.text().optional(),
    login: option.text().optional(),
    system: option.text().optional(),
  }),
  rotate: option.boolean(false),
  subject: option.text().optional(),
  adopt: option.boolean(false),
}

/**
 * Creates a database with its roles, or completes what is missing, and returns the URLs that apps need. Safe
 * to call at every start and from several processes at once: a login that exists is not altered, and a database of
 * another role that holds tables is not touched unless `adopt` is set.
 *
 * @throws RlsError `ERR_RLS_DATABASE_EXISTS` when the database is another's and `adopt` is not set, or by its note that of
 *   another subject.
 * @throws RlsError `ERR_RLS_LOGIN_EXISTS` when a login exists with another password and `rotate` is not set.
 */
export async function provisionDatabase(options: ProvisionOptions): Promise<ProvisionedDatabase> {
  const { adminUrl, name, passwords, rotate, adopt, subject } = readOptions<ProvisionOptions, typeof spec>(
    options,
    spec,
    'provisionDatabase',
  )
  const roles = databaseRoles(name)
  const password = (role: 'owner' | 'login' | 'system'): string | undefined =>
    passwords[role] ?? derivedPassword(adminUrl, roles[role])

  await withClient(adminUrl, async (admin) => {
    // Roles belong to the whole server, and PostgreSQL refuses two changes of one at the same time.
    await admin.query('select pg_advisory_lock($1)', [provisionLock])
    if (subject !== undefined) await assertSubject(admin, name, subject)
    const former = await formerOwner(admin, name, roles.owner)
    if (former !== undefined && !adopt) await assertEmpty(adminUrl, name, former)
    for (const role of ['owner', 'login', 'system'] as const) {
      await ensureRole(
        admin,
        roles[role],
        `login ${role === 'login' ? 'noinherit' : 'inherit'}`,
        password(role),
        rotate,
      )
    }
    await ensureRole(admin, roles.tenant, 'nologin noinherit', undefined, rotate)
    const inherit = (await versionOf(admin)) >= 160_000 ? ' with inherit false, set true' : ''
    await admin.query(`grant ${quoteName(roles.tenant)} to ${quoteName(roles.login)}${inherit}`)
    await ensureDatabase(admin, name, roles.owner, subject)
    const users = [roles.login, roles.system, ...(adopt && former !== undefined ? [former] : [])]
    await admin.query(`grant connect on database ${quoteName(name)} to ${users.map(quoteName).join(', ')}`)
    await admin.query(`revoke all on database ${quoteName(name)} from public`)
    await withClient(urlOf(adminUrl, name), (database) => openSchema(database, roles))
  })

  const urls = {
    ownerUrl: urlOf(adminUrl, name, roles.owner, password('owner')),
    url: urlOf(adminUrl, name, roles.login, password('login')),
    systemUrl: urlOf(adminUrl, name, roles.system, password('system')),
  }
  await assertLogin(urls.ownerUrl, roles.owner)
  await assertLogin(urls.url, roles.login)
  await assertLogin(urls.systemUrl, roles.system)
  return { ...urls, roles }
}

/** An existing login may have another password than the one that the URL says, or a URL another login. */
async function assertLogin(url: string, login: string): Promise<void> {
  try {
    const found = await withClient(url, async (client) => {
      const { rows } = await client.query<{ login: string }>('select session_user::text as login')
      return rows[0]?.login
    })
    if (found !== login) throw new Error(`The URL for ${login} connects as ${found ?? 'nobody'}.`)
  } catch (error) {
    if ((error as { code?: unknown }).code !== '28P01') throw error
    throw new RlsError(
      `The login ${login} exists with another password. Give its password, or set rotate to give it this one; whoever connects with the old one is refused from then on.`,
      { code: 'ERR_RLS_LOGIN_EXISTS', kind: 'conflict', details: { login }, cause: error },
    )
  }
}

/** The same key in every process that provisions. */
const provisionLock = '6051432110874520577'

async function ensureRole(
  admin: Client,
  role: string,
  attributes: string,
  password: string | undefined,
  rotate: boolean,
): Promise<void> {
  const name = quoteName(role)
  const { rowCount } = await admin.query('select 1 from pg_roles where rolname = $1', [role])
  if (rowCount === 0) await admin.query(`create role ${name}`)
  else if (!rotate) return
  const secret = password === undefined ? '' : ` password ${quoteText(scramVerifier(password))}`
  await admin.query(
    `alter role ${name} nosuperuser nocreatedb nocreaterole nobypassrls ${attributes}${secret}`,
  )
}

async function ownerOf(admin: Client, name: string): Promise<string | undefined> {
  const { rows } = await admin.query<{ owner: string }>(
    'select pg_get_userbyid(datdba) as owner from pg_database where datname = $1',
    [name],
  )
  return rows[0]?.owner
}

/** Who has the database, where it is there and not the owner's already. */
async function formerOwner(admin: Client, name: string, owner: string): Promise<string | undefined> {
  const current = await ownerOf(admin, name)
  return current === owner ? undefined : current
}

async function assertEmpty(adminUrl: string, name: string, owner: string): Promise<void> {
  const tables = await withClient(urlOf(adminUrl, name), async (database) => {
    const { rows } = await database.query<{ count: number }>(
      `select count(*)::int as count from pg_catalog.pg_class where relkind in ('r', 'p', 'f', 'v', 'm')
       and relnamespace::regnamespace::text !~ '^(pg_|information_schema$)'
       and not exists (select from pg_catalog.pg_depend where classid = 'pg_class'::regclass and objid = pg_class.oid and deptype = 'e')`,
    )
    return rows[0]?.count ?? 0
  })
  if (tables === 0) return
  throw new RlsError(
    `The database ${name} belongs to ${owner} and holds ${tables} tables and views, so it is not touched: its logins would lose their rights. Set adopt to take it over, or give another name.`,
    { code: 'ERR_RLS_DATABASE_EXISTS', kind: 'conflict', details: { database: name, owner } },
  )
}

/** Before the subject, in the comment of a database. */
const note = 'quintet: '

/** Different subjects may come to the same name of a database and its roles. */
async function assertSubject(admin: Client, name: string, subject: string): Promise<void> {
  const { rows } = await admin.query<{ note: string | null }>(
    "select shobj_description(oid, 'pg_database') as note from pg_database where datname = $1",
    [name],
  )
  const found = rows[0]?.note
  if (!found?.startsWith(note) || found === note + subject) return
  const other = found.slice(note.length)
  throw new RlsError(
    `The database ${name} is that of ${other}, and that of ${subject} would have the same name. Give one of the two another name, or a server of its own.`,
    { code: 'ERR_RLS_DATABASE_EXISTS', kind: 'conflict', details: { database: name, subject: other } },
  )
}

async function ensureDatabase(
  admin: Client,
  name: string,
  owner: string,
  subject: string | undefined,
): Promise<void> {
  const current = await ownerOf(admin, name)
  if (current === owner) return
  // An administrator who is no superuser must be able to act as the owner that it names.
  await admin.query(`grant ${quoteName(owner)} to current_user`)
  await admin.query(
    current === undefined
      ? `create database ${quoteName(name)} owner ${quoteName(owner)}`
      : `alter database ${quoteName(name)} owner to ${quoteName(owner)}`,
  )
  if (subject !== undefined)
    await admin.query(`comment on database ${quoteName(name)} is ${quoteText(note + subject)}`)
}

async function openSchema(database: Client, roles: DatabaseRoles): Promise<void> {
  const owner = quoteName(roles.owner)
  const users = `${quoteName(roles.tenant)}, ${quoteName(roles.system)}`
  await database.query(`alter schema public owner to ${owner}`)
  await database.query('revoke create on schema public from public')
  await database.query(`grant usage on schema public to ${users}`)
  await database.query(
    `alter default privileges for role ${owner} grant select, insert, update, delete on tables to ${quoteName(roles.system)}`,
  )
  await database.query(`alter default privileges for role ${owner} grant usage on sequences to ${users}`)
  // A function may do with its owner's rights what no policy sees: no role runs one without a grant.
  await database.query(`alter default privileges for role ${owner} revoke execute on functions from public`)
  await database.query(
    `alter default privileges for role ${owner} grant execute on functions to ${quoteName(roles.system)}`,
  )
  await closeLargeObjects(database)
}

/** Large objects have no row-level security. Only a superuser can close them. */
async function closeLargeObjects(database: Client): Promise<void> {
  const names = largeObjectFunctions.map(quoteText).join(', ')
  await database.query(`do $large$
declare open regprocedure;
begin
  for open in select oid from pg_catalog.pg_proc where pronamespace = 'pg_catalog'::regnamespace
    and proname in (${names}) and pg_catalog.pg_has_role(proowner, 'USAGE') loop
    execute pg_catalog.format('revoke execute on function %s from public', open);
  end loop;
end $large$`)
}

async function versionOf(admin: Client): Promise<number> {
  const { rows } = await admin.query<{ version: number }>(
    "select current_setting('server_version_num')::int as version",
  )
  return rows[0]?.version ?? 0
}

function derivedPassword(adminUrl: string, role: string): string | undefined {
  const { password, searchParams } = new URL(adminUrl)
  const secret = searchParams.get('password') ?? decodeURIComponent(password)
  if (secret === '') return undefined
  return createHmac('sha256', secret).update(`quintet database role ${role}`).digest('base64url')
}

function urlOf(adminUrl: string, database: string, user?: string, password?: string): string {
  const url = new URL(adminUrl)
  url.pathname = `/${database}`
  if (user === undefined) return url.href
  url.searchParams.delete('user')
  url.searchParams.delete('password')
  // Without a host, as for a Unix socket, a URL takes no user before it, and says nothing.
  if (url.host === '') {
    url.searchParams.set('user', user)
    if (password !== undefined) url.searchParams.set('password', password)
    return url.href
  }
  url.username = user
  url.password = password === undefined ? '' : encodeURIComponent(password)
  return url.href
}

async function withClient<Result>(url: string, run: (client: Client) => Promise<Result>): Promise<Result> {
  const client = new Client({ connectionString: url })
  // The statement in flight is told; without a listener the same error would end the process.
  client.on('error', () => undefined)
  await client.connect()
  try {
    return await run(client)
  } finally {
    await client.end()
  }
}
