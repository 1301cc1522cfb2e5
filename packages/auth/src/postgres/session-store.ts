import type { Duration } from '@quintet/core'
import { type Clock, option, parseDuration, readOptions } from '@quintet/core/kit'
import type { SessionRef, UserRef } from '../sessions/session-keys.ts'
import type { SessionRecord } from '../sessions/session-record.ts'
import type {
  NewSession,
  Rotation,
  RotationResult,
  SessionLimits,
  SessionStore,
  StoredSession,
} from '../sessions/session-store.ts'
import { toRecord, type SessionRow } from './session-row.ts'
import { tableNames, tablesSpec, type SessionTables, type TableNames } from './tables.ts'

/** What is needed of a pool; that of `pg` fits. Its user must see all sessions, whatever their tenant. */
export interface PostgresPool {
  connect(): Promise<PostgresConnection>
}

export interface PostgresConnection {
  query(config: {
    readonly text: string
    readonly values: unknown[]
    readonly query_timeout: number
  }): Promise<{ readonly rows: unknown[] }>
  /** With true the connection is not used again. */
  release(destroy?: boolean): void
}

export interface PostgresSessionStoreOptions extends SessionTables {
  readonly pool: PostgresPool
  /** How long one statement may take, and as long the wait for a connection. @defaultValue `'1s'` */
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
 * Makes the session store on PostgreSQL, over the tables of {@link sessionTablesSql}. Each step is one statement,
 * so it commits or does not; a refresh compares and swaps on the generation.
 */
export function createPostgresSessionStore(options: PostgresSessionStoreOptions): PostgresSessionStore {
  const { pool, queryTimeout, clock, ...tables } = readOptions<PostgresSessionStoreOptions, typeof spec>(
    options,
    spec,
    'createPostgresSessionStore',
  )
  const store = new Store(pool, tableNames(tables), queryTimeout, clock)
  // Bound, so that `sessionLookup: store.find` works.
  return {
    create: (session, limits) => store.create(session, limits),
    find: (ref) => store.find(ref),
    rotate: (rotation) => store.rotate(rotation),
    revoke: (ref, reason) => store.revoke(ref, reason),
    revokeAll: (user, reason, kept) => store.revokeAll(user, reason, kept),
    list: (user) => store.list(user),
    recentlyRevoked: (within) => store.recentlyRevoked(within),
    prune: (endedBefore) => store.prune(endedBefore),
  }
}

/** The time, from the first parameter or, where that is null, from PostgreSQL. */
const now = `coalesce($1::bigint, (extract(epoch from clock_timestamp()) * 1000)::bigint)`

class Store implements PostgresSessionStore {
  readonly #pool: PostgresPool
  readonly #tables: TableNames
  readonly #timeout: number
  readonly #clock: Clock | undefined

  constructor(pool: PostgresPool, tables: TableNames, timeout: number, clock: Clock | undefined) {
    this.#pool = pool
    this.#tables = tables
    this.#timeout = timeout
    this.#clock = clock
  }

  async create(
    session: NewSession,
    limits: SessionLimits,
  ): Promise<StoredSession & { readonly ended: readonly string[] }> {
    const { sessions, epochs } = this.#tables
    // Taking the epoch's row lock orders this with a "log out everywhere" at the same time.
    const [row] = await this.#query<SessionRow>(
      `with t as (select ${now} as now),
       e as (
         insert into ${epochs} as e (tenant_id, user_id, epoch) values ($3, $4, 0)
         on conflict (tenant_id, user_id) do update set epoch = e.epoch returning e.epoch
       )
       insert into ${sessions} (id, tenant_id, user_id, generation, refresh_id, refresh_hash, grace_allowed, rotated_at,
         created_at, authenticated_at, expires_at, absolute_expires_at, epoch, aal, amr, roles, permissions, device, jkt)
       select $2, $3, $4, $5, $6, $7, $8, t.now, t.now, t.now, t.now + least($9::bigint, $10::bigint), t.now + $10::bigint,
         e.epoch, $11, $12, $13, $14, $15, $16 from t, e
       returning *, epoch as user_epoch`,
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
      ],
    )
    if (row === undefined) throw new Error('PostgreSQL returned no row for a new session.')
    const surplus = await this.#query<{ id: string }>(
      `update ${sessions} set revoked_at = ${now}, revoked_reason = 'too-many-sessions'
       where id in (
         select id from ${sessions}
         where tenant_id = $2 and user_id = $3 and revoked_at is null and expires_at > ${now}
         order by (id = $4) desc, expires_at desc, created_at desc offset $5
       ) and revoked_at is null
       returning id`,
      [session.tenantId, session.userId, session.sessionId, limits.maxSessionsPerUser],
    )
    return { record: toRecord(row), userEpoch: row.epoch, ended: surplus.map(({ id }) => id) }
  }

  async find(ref: SessionRef): Promise<StoredSession | undefined> {
    const { sessions, epochs } = this.#tables
    const [row] = await this.#run<SessionRow>(
      `select s.*, e.epoch as user_epoch from ${sessions} s
       left join ${epochs} e using (tenant_id, user_id)
       where s.id = $1 and s.tenant_id = $2 and s.user_id = $3`,
      [ref.sessionId, ref.tenantId, ref.userId],
    )
    return row === undefined ? undefined : { record: toRecord(row), userEpoch: row.user_epoch ?? 0 }
  }

  async rotate(rotation: Rotation): Promise<RotationResult> {
    const swapped = await this.#swap(rotation)
    if (swapped !== undefined) return { outcome: 'OK', record: swapped }
    const result = await this.#classify(rotation)
    if (result.outcome === 'REUSED') await this.revoke(rotation, 'reused')
    return result
  }

  async revoke(ref: SessionRef, reason: string): Promise<boolean> {
    const rows = await this.#query(
      `update ${this.#tables.sessions} set revoked_at = ${now}, revoked_reason = $5
       where id = $2 and tenant_id = $3 and user_id = $4 and revoked_at is null returning id`,
      [ref.sessionId, ref.tenantId, ref.userId, reason],
    )
    return rows.length === 1
  }

  async revokeAll(
    user: UserRef,
    reason: string,
    kept: string | undefined,
  ): Promise<{ readonly ended: readonly string[]; readonly epoch: number }> {
    const { sessions, epochs } = this.#tables
    // A session whose insert this statement cannot see yet has the epoch of before, which ends it too.
    const [row] = await this.#query<{ epoch: number; ended: string[] }>(
      `with e as (
         insert into ${epochs} as e (tenant_id, user_id, epoch) values ($2, $3, 1)
         on conflict (tenant_id, user_id) do update set epoch = e.epoch + 1 returning e.epoch
       ),
       ended as (
         update ${sessions} set revoked_at = ${now}, revoked_reason = $4
         where tenant_id = $2 and user_id = $3 and revoked_at is null and id is distinct from $5 returning id
       ),
       kept as (
         update ${sessions} set epoch = (select epoch from e)
         where tenant_id = $2 and user_id = $3 and revoked_at is null and id = $5
       )
       select (select epoch from e) as epoch, array(select id from ended) as ended`,
      [user.tenantId, user.userId, reason, kept ?? null],
    )
    return { ended: row?.ended ?? [], epoch: row?.epoch ?? 0 }
  }

  async list(user: UserRef): Promise<readonly SessionRecord[]> {
    const { sessions, epochs } = this.#tables
    const rows = await this.#query<SessionRow>(
      `select s.*, e.epoch as user_epoch from ${sessions} s
       left join ${epochs} e using (tenant_id, user_id)
       where s.tenant_id = $2 and s.user_id = $3 and s.revoked_at is null and s.expires_at > ${now}
         and s.epoch >= coalesce(e.epoch, 0)
       order by s.created_at desc`,
      [user.tenantId, user.userId],
    )
    return rows.map(toRecord)
  }

  async recentlyRevoked(withinMs: number): Promise<readonly SessionRef[]> {
    const rows = await this.#query<Pick<SessionRow, 'id' | 'tenant_id' | 'user_id'>>(
      `select id, tenant_id, user_id from ${this.#tables.sessions} where revoked_at > ${now} - $2::bigint`,
      [withinMs],
    )
    return rows.map((row) => ({ sessionId: row.id, tenantId: row.tenant_id, userId: row.user_id }))
  }

  async prune(endedBefore: Duration): Promise<number> {
    const age = Math.floor(parseDuration(endedBefore, 'prune.endedBefore'))
    const rows = await this.#query(
      `delete from ${this.#tables.sessions}
       where expires_at < ${now} - $2::bigint or revoked_at < ${now} - $2::bigint returning id`,
      [age],
    )
    return rows.length
  }

  /** The record after the swap; undefined when the row is not as the token says. */
  async #swap(rotation: Rotation): Promise<SessionRecord | undefined> {
    const { sessions, epochs } = this.#tables
    const { change } = rotation
    const rows = await this.#query<SessionRow>(
      `update ${sessions} s set
         generation = s.generation + 1, previous_id = s.refresh_id, previous_hash = s.refresh_hash,
         refresh_id = $8, refresh_hash = $9, grace_allowed = $10, rotated_at = ${now},
         expires_at = least(${now} + $11::bigint, s.absolute_expires_at),
         authenticated_at = case when $12 then ${now} else s.authenticated_at end,
         aal = coalesce($13, s.aal), amr = coalesce($14, s.amr),
         roles = coalesce($15, s.roles), permissions = coalesce($16, s.permissions)
       where s.id = $2 and s.tenant_id = $3 and s.user_id = $4 and s.generation = $5 and s.refresh_id = $6
         and s.refresh_hash = $7 and s.revoked_at is null and s.expires_at > ${now} and s.absolute_expires_at > ${now}
         and (s.jkt is null or s.jkt = $17)
         and s.epoch >= coalesce(
           (select e.epoch from ${epochs} e where e.tenant_id = s.tenant_id and e.user_id = s.user_id), 0)
       returning s.*`,
      [
        rotation.sessionId,
        rotation.tenantId,
        rotation.userId,
        rotation.generation,
        rotation.refreshId,
        rotation.refreshHash,
        rotation.nextRefreshId,
        rotation.nextRefreshHash,
        rotation.graceAllowed,
        rotation.idle,
        change.authenticatedNow === true,
        change.aal ?? null,
        change.amr ?? null,
        change.roles ?? null,
        change.permissions ?? null,
        rotation.jkt,
      ],
    )
    return rows[0] === undefined ? undefined : toRecord(rows[0])
  }

  /** Why the swap did not happen. The row only ever moves forward, so what is seen now explains it. */
  async #classify(rotation: Rotation): Promise<RotationResult> {
    const { sessions, epochs } = this.#tables
    const [row] = await this.#query<SessionRow & { readonly now: string }>(
      `select s.*, e.epoch as user_epoch, ${now} as now from ${sessions} s
       left join ${epochs} e using (tenant_id, user_id)
       where s.id = $2 and s.tenant_id = $3 and s.user_id = $4`,
      [rotation.sessionId, rotation.tenantId, rotation.userId],
    )
    if (row === undefined) return { outcome: 'MISSING' }
    const record = toRecord(row)
    const at = Number(row.now)
    if (record.state === 'revoked') return { outcome: 'REVOKED' }
    if (at >= record.expiresAt || at >= record.absoluteExpiresAt) return { outcome: 'EXPIRED' }
    if (record.jkt !== null && record.jkt !== rotation.jkt) return { outcome: 'BAD' }
    if (rotation.generation === record.generation) return { outcome: 'BAD' }
    if (rotation.generation > record.generation) return { outcome: 'FUTURE' }
    const isPrevious =
      rotation.generation === record.generation - 1 &&
      record.previousId === rotation.refreshId &&
      record.previousHash === rotation.refreshHash
    const { firstSeen } = rotation
    // Until the successor is seen, the answer that carried it may have been lost.
    const inGrace = firstSeen?.refreshId !== record.refreshId || at - firstSeen.at <= rotation.grace
    if (isPrevious && inGrace) {
      if (rotation.change.authenticatedNow === true) return { outcome: 'GRACE', record }
      return record.graceAllowed ? await this.#withRights(rotation, record) : { outcome: 'SUPERSEDED' }
    }
    return { outcome: 'REUSED' }
  }

  /** A repeated refresh: what the user may do now holds for it too. A repeated step-up gets what the first one did. */
  async #withRights(rotation: Rotation, record: SessionRecord): Promise<RotationResult> {
    const { roles, permissions } = rotation.change
    if (roles === undefined && permissions === undefined) return { outcome: 'GRACE', record }
    const [row] = await this.#run<SessionRow>(
      `update ${this.#tables.sessions} set roles = coalesce($6, roles), permissions = coalesce($7, permissions)
       where id = $1 and tenant_id = $2 and user_id = $3 and generation = $4 and refresh_id = $5
         and revoked_at is null
       returning *`,
      [
        record.sessionId,
        record.tenantId,
        record.userId,
        record.generation,
        record.refreshId,
        roles ?? null,
        permissions ?? null,
      ],
    )
    // The session has moved on in between: that is what the token is held against.
    return row === undefined
      ? await this.#classify(rotation)
      : { outcome: 'GRACE', record: { ...record, roles: row.roles, permissions: row.permissions } }
  }

  /** As `#run`, with the time, or null, as first parameter. */
  #query<Row>(text: string, values: readonly unknown[]): Promise<Row[]> {
    const time = this.#clock === undefined ? null : Math.floor(this.#clock.now())
    return this.#run(text, [time, ...values])
  }

  async #run<Row>(text: string, values: readonly unknown[]): Promise<Row[]> {
    const connection = await this.#connect()
    let failed = true
    try {
      const { rows } = await connection.query({ text, values: [...values], query_timeout: this.#timeout })
      failed = false
      return rows as Row[]
    } finally {
      // After a failure the statement may still run, or the connection be lost.
      connection.release(failed)
    }
  }

  /** A connection, or the failure that none was free in time: what is not sent by then is never sent. */
  async #connect(): Promise<PostgresConnection> {
    const { promise: late, reject } = Promise.withResolvers<never>()
    const timer = setTimeout(
      () => reject(new Error(`No connection was free within ${this.#timeout} ms.`)),
      this.#timeout,
    )
    const connecting = this.#pool.connect()
    try {
      return await Promise.race([connecting, late])
    } catch (error) {
      connecting.then(
        (connection) => connection.release(),
        () => undefined,
      )
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
}
