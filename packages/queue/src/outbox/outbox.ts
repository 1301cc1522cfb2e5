import { currentInvocation, type Principal } from '@quintet/core'
import { option, readOptions, refuseUnknownKeys } from '@quintet/core/kit'
import { QueueError } from '../errors.ts'
import type { Erased, ErasureSubject } from '../jobs/erase-jobs.ts'
import { assertText } from '../postgres/assert-text.ts'
import { deleteInBatches } from '../postgres/delete-in-batches.ts'
import { assertTransaction, execute, type PgExecutor, type SqlExecutor } from '../postgres/sql-executor.ts'

/** Something that happened, for others to hear of. */
export interface OutboxEvent {
  /** What kind of thing, e.g. `ledger.transferred`. */
  readonly topic: string
  /**
   * Events with the same key are delivered one after another, in the order in which they were added. Where two
   * transactions add at the same time, that is the order of their commits if they hold a lock on what the key names.
   */
  readonly key: string
  /** Facts, as JSON. */
  readonly payload: unknown
  /** For whom its jobs run. @defaultValue the principal of the running call */
  readonly principal?: Principal
  /** The users of whom it tells, by which it is erased. @defaultValue none */
  readonly subjects?: readonly string[]
}

/** An event that was given up, for operators. */
export interface DeadEvent {
  readonly id: string
  readonly topic: string
  readonly key: string
  readonly tenantId: string | null
  readonly attempts: number
  readonly reason: string
  readonly diedAt: Date
}

export interface DeadEventsOptions {
  /** @defaultValue 100 */
  readonly limit?: number
}

const deadSpec = { limit: option.count(100, { min: 1 }) }

/** Where events are written, in the transaction of what they tell of. */
export interface Outbox {
  /**
   * Adds an event: it exists exactly when the transaction commits.
   *
   * @throws QueueError `ERR_QUEUE_BAD_NAME`, `ERR_QUEUE_BAD_PAYLOAD`, before anything is sent to PostgreSQL; TypeError
   *   for what is plainly no transaction.
   */
  add(transaction: SqlExecutor, event: OutboxEvent): Promise<void>
  /** The latest events that were given up; with the system login. */
  dead(system: SqlExecutor, options?: DeadEventsOptions): Promise<readonly DeadEvent[]>
  /** Has a dead event delivered again; with the system login. @throws QueueError `ERR_QUEUE_NO_DEAD_LETTER` */
  replay(system: SqlExecutor, id: string): Promise<void>
  /**
   * Erases dead events of a user or a tenant: those that they caused, and those that tell of them. Events that are still to
   * be delivered are left and counted. With the system login.
   */
  erase(system: SqlExecutor, subject: ErasureSubject): Promise<Erased>
}

export interface OutboxOptions {
  /**
   * Connections of the system login, for telling the relays that events are coming. Without it they find events when
   * they look, every `poll`.
   */
  readonly notify?: PgExecutor
}

const spec = { notify: option.collaborator<PgExecutor>(['query'], 'a pool of pg').optional() }

/**
 * Makes the outbox over the table of `outboxMigration`.
 *
 * @throws TypeError for options that are unknown or make no sense.
 *
 * @example
 * const outbox = createOutbox({ notify: systemPool })
 * await outbox.add(trx, { topic: 'ledger.transferred', key: accountId, payload: { amount } })
 */
export function createOutbox(options: OutboxOptions = {}): Outbox {
  const { notify } = readOptions<OutboxOptions, typeof spec>(options, spec, 'createOutbox')
  const notifyRelays = notify === undefined ? () => undefined : createNotifier(notify)
  return {
    async add(transaction, given) {
      const event = readEvent(given)
      const payload = serializeEvent(event)
      const invocation = currentInvocation()
      const principal = event.principal ?? invocation?.principal
      if (principal === undefined || principal.kind === 'anonymous') {
        throw new TypeError(
          `outbox ${event.topic}: an event belongs to a user or to the system; give a principal.`,
        )
      }
      for (const name of ['tenantId', 'userId'] as const) {
        if (principal[name] !== null) assertText(principal[name], 500, `outbox ${event.topic}: ${name}`)
      }
      assertTransaction(transaction, `outbox ${event.topic}`)
      await execute(
        transaction,
        'insert into outbox (topic, key, tenant_id, user_id, payload, traceparent, subjects) values ($1, $2, $3, $4, $5, $6, $7)',
        [
          event.topic,
          event.key,
          principal.tenantId,
          principal.userId,
          payload,
          invocation?.traceparent ?? null,
          event.subjects ?? [],
        ],
      )
      notifyRelays()
    },
    async dead(system, given = {}) {
      const { limit } = readOptions<DeadEventsOptions, typeof deadSpec>(given, deadSpec, 'outbox.dead')
      const rows = await execute<DeadRow>(
        system,
        `select id, topic, key, tenant_id, attempts, last_error, dead_at from outbox
         where dead_at is not null order by dead_at desc limit $1`,
        [limit],
      )
      return rows.map((row) => ({
        id: row.id,
        topic: row.topic,
        key: row.key,
        tenantId: row.tenant_id,
        attempts: row.attempts,
        reason: row.last_error ?? '',
        diedAt: row.dead_at,
      }))
    },
    async erase(system, { tenantId, userId }) {
      const concerned = `tenant_id = $1 and ($2::text is null or user_id = $2 or $2 = any (subjects))`
      const subject = [tenantId, userId ?? null]
      const erased = await deleteInBatches(system, 'outbox', `${concerned} and dead_at is not null`, subject)
      const [left] = await execute<{ pending: number }>(
        system,
        `select count(*)::int as pending from outbox where ${concerned} and dead_at is null`,
        subject,
      )
      return { erased, pending: left?.pending ?? 0 }
    },
    async replay(system, id) {
      const rows = await execute(
        system,
        `with revived as (
           update outbox set dead_at = null, attempts = 0, next_attempt_at = now(), outage_since = null,
             claimed_by = null, claimed_until = null
           where id::text = $1 and dead_at is not null returning id)
         select id, pg_notify('outbox', '') from revived`,
        [id],
      )
      if (rows.length === 0)
        throw new QueueError('ERR_QUEUE_NO_DEAD_LETTER', `The outbox has no dead event ${id}.`)
    },
  }
}

/** Notifications of one tick go out as one, outside of the transaction: NOTIFY in it would serialise all commits. */
function createNotifier(pool: PgExecutor): () => void {
  let planned = false
  return () => {
    if (planned) return
    planned = true
    setImmediate(() => {
      planned = false
      // A relay that is not told looks by itself a little later.
      pool.query(`select pg_notify('outbox', '')`, []).catch(() => undefined)
    })
  }
}

/** @throws TypeError for an option that is unknown; QueueError `ERR_QUEUE_BAD_NAME`. */
function readEvent(event: OutboxEvent): OutboxEvent {
  refuseUnknownKeys(event, ['topic', 'key', 'payload', 'principal', 'subjects'], 'outbox.add')
  assertText(event.topic, 500, 'outbox.add: topic')
  assertText(event.key, 1_000, `outbox ${event.topic}: key`)
  return event
}

/**
 * The payload as JSON that PostgreSQL can keep: a statement that it refuses would break the caller's transaction.
 *
 * @throws QueueError `ERR_QUEUE_BAD_PAYLOAD`
 */
function serializeEvent({ topic, payload }: OutboxEvent): string {
  const refuse = (what: string, cause?: unknown): QueueError =>
    new QueueError('ERR_QUEUE_BAD_PAYLOAD', `outbox ${topic}: ${what}`, { cause })
  let json: string | undefined
  try {
    json = JSON.stringify(payload)
  } catch (error) {
    throw refuse(`the payload cannot be written as JSON: ${(error as Error).message}`, error)
  }
  if (json === undefined) throw refuse('the payload cannot be written as JSON.')
  if (notInPostgres.test(json)) throw refuse('the payload holds a NUL or half of a surrogate pair.')
  return json
}

/** JSON.stringify escapes only control characters and halves of surrogate pairs, so an escape of these is one. */
const notInPostgres = /(?:^|[^\\])(?:\\\\)*\\u(?:0000|d[89a-f])/

interface DeadRow {
  readonly id: string
  readonly topic: string
  readonly key: string
  readonly tenant_id: string | null
  readonly attempts: number
  readonly last_error: string | null
  readonly dead_at: Date
}
