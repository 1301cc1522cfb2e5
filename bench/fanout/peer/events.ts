import { Queue, Worker, type Processor } from 'bullmq'
import { Redis } from 'ioredis'
import { sql, type Transaction } from 'kysely'
import { Pool } from 'pg'
import { settings, type Caller } from './app.ts'

/** An event as its consumers get it. */
export interface PeerEvent {
  readonly id: string
  readonly topic: string
  readonly occurredAt: string
  readonly caller: Caller
  readonly data: Readonly<Record<string, unknown>>
}

const connection = (): Redis => new Redis(settings.redisUrl, { maxRetriesPerRequest: null })

/** Writes an event in the transaction of what it tells of. */
export async function publish(
  trx: Transaction<never>,
  caller: Caller,
  topic: string,
  data: Readonly<Record<string, unknown>>,
): Promise<void> {
  const payload = JSON.stringify({ data, roles: caller.roles })
  await sql`insert into outbox (topic, key, tenant_id, user_id, payload)
    values (${topic}, ${caller.tenantId}, ${caller.tenantId}, ${caller.userId}, ${payload}::jsonb)`.execute(
    trx,
  )
}

interface OutboxRow {
  readonly id: string
  readonly topic: string
  readonly tenant_id: string
  readonly user_id: string
  readonly payload: { readonly data: Record<string, unknown>; readonly roles: readonly string[] }
  readonly created_at: Date
}

/** Hands committed events to the queues of their consumers, in order, each at least once. */
export function startRelay(consumers: readonly string[]): void {
  const pool = new Pool({ connectionString: settings.systemUrl, max: 1 })
  const queues = consumers.map((name) => new Queue(name, { connection: connection(), prefix: 'peer' }))
  const pass = async (): Promise<number> => {
    const client = await pool.connect()
    try {
      await client.query('begin')
      const { rows } = await client.query<OutboxRow>(
        'select * from outbox order by position limit 100 for update skip locked',
      )
      if (rows.length > 0) {
        const jobs = rows.map(({ id, topic, tenant_id, user_id, payload, created_at }) => {
          const caller = { tenantId: tenant_id, userId: user_id, roles: payload.roles }
          const event: PeerEvent = {
            id,
            topic,
            occurredAt: created_at.toISOString(),
            caller,
            data: payload.data,
          }
          return {
            name: topic,
            data: event,
            opts: {
              jobId: id,
              attempts: 5,
              backoff: { type: 'exponential', delay: 1_000 },
              removeOnComplete: 1_000,
            },
          }
        })
        await Promise.all(queues.map((queue) => queue.addBulk(jobs)))
        await client.query('delete from outbox where id = any($1)', [rows.map(({ id }) => id)])
      }
      await client.query('commit')
      return rows.length
    } catch (error) {
      await client.query('rollback')
      throw error
    } finally {
      client.release()
    }
  }
  const run = async (): Promise<void> => {
    const taken = await pass().catch(() => 0)
    setTimeout(() => void run(), taken > 0 ? 0 : 50)
  }
  void run()
}

/** Runs a function for each event that the consumer gets. */
export function consume(name: string, run: Processor<PeerEvent>): void {
  const worker = new Worker<PeerEvent>(name, run, {
    connection: connection(),
    prefix: 'peer',
    concurrency: 8,
  })
  worker.on('error', () => {})
}
