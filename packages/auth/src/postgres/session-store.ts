import type { Duration } from '@quintet/core'
import { type Clock, option, parseDuration, readOptions } from '@quintet/core/kit'
import { escapeId, type SessionRef, type UserRef } from '../sessions/session-keys.ts'
import type { SessionRecord } from '../sessions/session-record.ts'
import type {
  NewSession,
  Rotation,
  RotationResult,
  SessionLimits,
  SessionStore,
  SessionTransaction,
  StoredSession,
  UserRevocation,
} from '../sessions/session-store.ts'
import { Connections, now, type PostgresPool, type RunStatement, type Statements } from './connections.ts'
import { RotationTable } from './rotation-table.ts'
import { toRecord, type SessionRow } from './session-row.ts'
import { tableNames, tablesSpec, type SessionTables, type TableNames } from './tables.ts'

export interface PostgresSessionStoreOptions extends SessionTables {
  readonly pool: PostgresPool
  /** How long the statements of one step may take, and as long the wait for a connection. @defaultValue `'1s'` */
  readonly queryTimeout?: Duration
  /** For tests. The clock of PostgreSQL otherwise. */
  readonly clock?: Clock
}

export const postgresSessionStoreDefaults: Readonly<{ queryTimeout: Duration }> = Object.freeze({
  queryTimeout: '1s',
})

/** Sessions in PostgreSQL. */
export interface PostgresSessionStore extends SessionStore {
  /** Deletes sessions that ended longer ago than given; resolves to how many. */
  prune(endedBefore: Duration): Promise<number>
}

const spec = {
  pool: option.collaborator<PostgresPool>(['connect'], 'a pool of pg'),
  ...tablesSpec,
  queryTimeout: option.delay(postgresSessionStoreDefaults.queryTimeout, { min: 1 }),
  clock: option.clock().optional(),
}

/**
 * Makes the session store on PostgreSQL, over the tables of {@link sessionTablesSql}. Each step is one statement or one
 * transaction, so it commits or does not; a refresh compares and swaps on the generation.
 *
 * @example
 * const store = createPostgresSessionStore({ pool: new Pool({ connectionString: config.databaseUrl }) })
 */
export function createPostgresSessionStore(options: PostgresSessionStoreOptions): PostgresSessionStore {
  const { pool, queryTimeout, clock, ...tables } = readOptions<PostgresSessionStoreOptions, typeof spec>(
    options,
    spec,
    'createPostgresSessionStore',
  )
  const store = new Store(new Connections(pool, queryTimeout, clock), tableNames(tables))
  // Bound, so that `sessionLookup: store.find` works.
  return {
    create: (session, limits) => store.create(session, limits),
    find: (ref) => store.find(ref),
    rotate: (rotation) => store.rotate(rotation),
    revoke: (ref, reason) => store.revoke(ref, reason),
    epochOf: (user) => store.epochOf(user),
    revokeAll: (user, reason, kept) => store.revokeAll(user, reason, kept),
    revokeWithin: (transaction, users, reason, kept) => store.revokeWithin(transaction, users, reason, kept),
    erase: (user) => store.erase(user),
    list: (user) => store.list(user),
    recentlyRevoked: (within, user) => store.recentlyRevoked(within, user),
    prune: (endedBefore) => store.prune(endedBefore),
  }
}

/** How many sessions one statement deletes, within the time that a statement may take. */
const pruneBatch = 5_000

class Store implements PostgresSessionStore {
  readonly #connections: Connections
  readonly #tables: TableNames
  readonly #rotations: RotationTable

  constructor(connections: Connections, tables: TableNames) {
    this.#connections = connections
    this.#tables = tables
    this.#rotations = new RotationTable(connections, tables)
  }

  create(
    session: NewSession,
    limits: SessionLimits,
  ): Promise<(StoredSession & { readonly ended: readonly string[] }) | undefined> {
    return this.#connections.transaction(session, async ({ query }) => {
      const row = await this.#insert(query, session, limits)
      if (row === undefined) return undefined
      const tooMany = Number(row.others) >= limits.maxSessionsPerUser
      const ended = tooMany ? await this.#endSurplus(query, session, limits) : []
      return { record: toRecord(row), userEpoch: row.epoch, ended }
    })
  }

  async epochOf({ tenantId, userId }: UserRef): Promise<number> {
    const [row] = await this.#connections.run<{ epoch: number }>(
      `select epoch from ${this.#tables.epochs} where tenant_id = $1 and user_id = $2`,
      [tenantId, userId],
    )
    return row?.epoch ?? 0
  }

  async find(ref: SessionRef): Promise<StoredSession | undefined> {
    const { sessions, epochs } = this.#tables
    const [row] = await this.#connections.run<SessionRow>(
      `select s.*, e.epoch as user_epoch from ${sessions} s
       left join ${epochs} e using (tenant_id, user_id)
       where s.id = $1 and s.tenant_id = $2 and s.user_id = $3`,
      [ref.sessionId, ref.tenantId, ref.userId],
    )
    return row === undefined ? undefined : { record: toRecord(row), userEpoch: row.user_epoch ?? 0 }
  }

  async rotate(rotation: Rotation): Promise<RotationResult> {
    const result = await this.#rotations.rotate(rotation)
    if (result.outcome === 'REUSED') await this.revoke(rotation, 'reused')
    return result
  }

  revoke(ref: SessionRef, reason: string): Promise<boolean> {
    return this.#connections.transaction(ref, async ({ query }) => {
      const rows = await query(
        `update ${this.#tables.sessions} set revoked_at = ${now}, revoked_reason = $5
         where id = $2 and tenant_id = $3 and user_id = $4 and revoked_at is null returning id`,
        [ref.sessionId, ref.tenantId, ref.userId, reason],
      )
      return rows.length === 1
    })
  }

  revokeAll(user: UserRef, reason: string, kept: string | undefined): Promise<UserRevocation> {
    return this.#connections.transaction(user, async (statements) => {
      const [revoked] = await this.#revokeAll(statements, [user], reason, kept)
      return revoked ?? { ...user, ended: [], epoch: 0 }
    })
  }

  async revokeWithin(
    transaction: SessionTransaction,
    users: readonly UserRef[],
    reason: string,
    kept: string | undefined,
  ): Promise<readonly UserRevocation[]> {
    return await this.#revokeAll(this.#connections.within(transaction), users, reason, kept)
  }

  async erase({ tenantId, userId }: UserRef): Promise<void> {
    await this.#connections.run(
      `delete from ${this.#tables.sessions} where tenant_id = $1 and user_id = $2 and revoked_at is not null`,
      [tenantId, userId],
    )
  }

  /** Raises the epochs, which a sign-in at the same time waits for, and then ends the sessions that there are. */
  async #revokeAll(
    { query, run }: Statements,
    users: readonly UserRef[],
    reason: string,
    kept: string | undefined,
  ): Promise<readonly UserRevocation[]> {
    const { sessions, epochs } = this.#tables
    const of = [users.map(({ tenantId }) => tenantId), users.map(({ userId }) => userId)]
    const raised = await run<{ tenant_id: string; user_id: string; epoch: number }>(
      `insert into ${epochs} as e (tenant_id, user_id, epoch)
       select distinct tenant_id, user_id, 1 from unnest($1::text[], $2::text[]) as u (tenant_id, user_id)
       order by tenant_id, user_id
       on conflict (tenant_id, user_id) do update set epoch = e.epoch + 1
       returning tenant_id, user_id, epoch`,
      of,
    )
    const ended = await query<{ id: string; tenant_id: string; user_id: string }>(
      `update ${sessions} s set revoked_at = ${now}, revoked_reason = $4
       from unnest($2::text[], $3::text[]) as u (tenant_id, user_id)
       where s.tenant_id = u.tenant_id and s.user_id = u.user_id and s.revoked_at is null
         and s.id is distinct from $5
       returning s.id, s.tenant_id, s.user_id`,
      [...of, reason, kept ?? null],
    )
    if (kept !== undefined)
      await run(
        `update ${sessions} s set epoch = e.epoch from ${epochs} e
         where s.id = $1 and s.revoked_at is null and s.tenant_id = any ($2) and s.user_id = any ($3)
           and e.tenant_id = s.tenant_id and e.user_id = s.user_id`,
        [kept, ...of],
      )
    const byUser = Map.groupBy(
      ended,
      ({ tenant_id, user_id }) => `${escapeId(tenant_id)} ${escapeId(user_id)}`,
    )
    return raised.map(({ tenant_id, user_id, epoch }) => ({
      tenantId: tenant_id,
      userId: user_id,
      epoch,
      ended: byUser.get(`${escapeId(tenant_id)} ${escapeId(user_id)}`)?.map(({ id }) => id) ?? [],
    }))
  }

  async list(user: UserRef): Promise<readonly SessionRecord[]> {
    const { sessions, epochs } = this.#tables
    const rows = await this.#connections.query<SessionRow>(
      `select s.*, e.epoch as user_epoch from ${sessions} s
       left join ${epochs} e using (tenant_id, user_id)
       where s.tenant_id = $2 and s.user_id = $3 and s.revoked_at is null and s.expires_at > ${now}
         and s.epoch >= coalesce(e.epoch, 0)
       order by s.created_at desc`,
      [user.tenantId, user.userId],
    )
    return rows.map(toRecord)
  }

  async recentlyRevoked(withinMs: number, user?: UserRef): Promise<readonly SessionRef[]> {
    const { sessions, epochs } = this.#tables
    const text = `select id, tenant_id, user_id from ${sessions} where revoked_at > ${now} - $2::bigint`
    type Row = Pick<SessionRow, 'id' | 'tenant_id' | 'user_id'>
    const rows =
      user === undefined
        ? await this.#connections.query<Row>(text, [withinMs])
        : await this.#connections.transaction(user, async ({ query, run }) => {
            const of = [user.tenantId, user.userId]
            // Comes after a transaction of the app's that ends sessions, and does not wait for it: that holds this row.
            await run(`select 1 from ${epochs} where tenant_id = $1 and user_id = $2 for share nowait`, of)
            return await query<Row>(`${text} and tenant_id = $3 and user_id = $4`, [withinMs, ...of])
          })
    return rows.map((row) => ({ sessionId: row.id, tenantId: row.tenant_id, userId: row.user_id }))
  }

  async prune(endedBefore: Duration): Promise<number> {
    const age = Math.floor(parseDuration(endedBefore, 'prune.endedBefore'))
    const { sessions } = this.#tables
    let pruned = 0
    for (;;) {
      // Each process of an app prunes: what another one is deleting is left to it.
      const [batch] = await this.#connections.query<{ gone: number }>(
        `with gone as (
           delete from ${sessions} where id in (
             select id from ${sessions}
             where expires_at < ${now} - $2::bigint or revoked_at < ${now} - $2::bigint
             limit ${pruneBatch} for update skip locked)
           returning 1)
         select count(*)::int as gone from gone`,
        [age],
      )
      const gone = batch?.gone ?? 0
      pruned += gone
      if (gone < pruneBatch) return pruned
    }
  }

  /** The new row, and how many others of the user are active; undefined when the epoch is not the one that was read. */
  async #insert(
    query: RunStatement,
    session: NewSession,
    limits: SessionLimits,
  ): Promise<(SessionRow & { readonly others: string }) | undefined> {
    const { sessions, epochs } = this.#tables
    // Taking the epoch's row lock orders this with a "log out everywhere" at the same time.
    const [row] = await query<SessionRow & { readonly others: string }>(
      `with t as (select ${now} as now),
       e as (
         insert into ${epochs} as e (tenant_id, user_id, epoch) values ($3, $4, $18::integer)
         on conflict (tenant_id, user_id) do update set epoch = greatest(e.epoch, excluded.epoch) returning e.epoch
       )
       insert into ${sessions} (id, tenant_id, user_id, generation, refresh_id, refresh_hash, grace_allowed, rotated_at,
         created_at, authenticated_at, expires_at, absolute_expires_at, epoch, aal, amr, roles, permissions, device, jkt)
       select $2, $3, $4, $5, $6, $7, $8, t.now, t.now, t.now, t.now + least($9::bigint, $10::bigint), t.now + $10::bigint,
         e.epoch, $11, $12, $13, $14, $15, $16 from t, e where e.epoch = coalesce($17, e.epoch)
       returning *, epoch as user_epoch, (
         select count(*) from ${sessions}
         where tenant_id = $3 and user_id = $4 and revoked_at is null and expires_at > ${now}
       ) as others`,
      [
        session.sessionId,
        session.tenantId,
        session.userId,
        session.generation,
        session.refreshId,
        session.refreshHash,
        session.graceAllowed,
        limits.idle,
        limits.absolute,
        session.aal,
        session.amr,
        session.roles,
        session.permissions,
        JSON.stringify(session.device),
        session.jkt,
        session.readEpoch,
        session.knownEpoch,
      ],
    )
    return row
  }

  /** Ends what a user has too many: of all but the new one, those that were not refreshed for longest. */
  async #endSurplus(
    query: RunStatement,
    session: NewSession,
    { maxSessionsPerUser }: SessionLimits,
  ): Promise<readonly string[]> {
    const { sessions } = this.#tables
    const ended = await query<{ id: string }>(
      `update ${sessions} set revoked_at = ${now}, revoked_reason = 'too-many-sessions'
       where id in (
         select id from ${sessions}
         where tenant_id = $2 and user_id = $3 and revoked_at is null and expires_at > ${now}
         order by (id = $4) desc, rotated_at desc, created_at desc offset $5
       ) and revoked_at is null
       returning id`,
      [session.tenantId, session.userId, session.sessionId, maxSessionsPerUser],
    )
    return ended.map(({ id }) => id)
  }
}
