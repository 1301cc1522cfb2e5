import { sql, type Kysely } from 'kysely'
import { RlsError } from '../errors.ts'

/** @throws RlsError `ERR_RLS_DATABASE_IN_USE` when logins other than this one and superusers are connected. */
export async function refuseInUse<Database>(db: Kysely<Database>): Promise<void> {
  const { rows } = await sql<{ login: string; connections: number }>`
    select a.usename as login, count(*)::int as connections
    from pg_stat_activity a join pg_roles r on r.rolname = a.usename
    where a.datname = current_database() and coalesce(a.backend_type, 'client backend') = 'client backend'
      and a.usename <> session_user and not r.rolsuper
    group by 1 order by 1`.execute(db)
  if (rows.length === 0) return
  const users = rows.map(({ login, connections }) => `${login} (${connections})`).join(', ')
  throw new RlsError(`The database is in use by ${users}. Stop the app first, or use force.`, {
    code: 'ERR_RLS_DATABASE_IN_USE',
    kind: 'conflict',
    details: { logins: rows.map(({ login }) => login) },
  })
}
