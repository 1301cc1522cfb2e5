import { sql } from 'kysely'
import { createServer, createVerifier, listen, openTenantDatabase } from './app.ts'
import { consume } from './events.ts'

interface Tables {
  counts: { tenant_id: string; topic: string; day: string; count: string }
  inbox: { consumer: string; event_id: string; tenant_id: string }
}

const inTenant = openTenantDatabase<Tables>()
const caller = createVerifier()
const app = createServer()

consume('count', async ({ data: { id, topic, occurredAt, caller: who } }) => {
  await inTenant(who, async (trx) => {
    const first = await trx
      .insertInto('inbox')
      .values({ consumer: 'analytics', event_id: id, tenant_id: who.tenantId })
      .onConflict((conflict) => conflict.doNothing())
      .returning('event_id')
      .executeTakeFirst()
    if (!first) return
    await trx
      .insertInto('counts')
      .values({ tenant_id: who.tenantId, topic, day: occurredAt.slice(0, 10), count: '1' })
      .onConflict((conflict) =>
        conflict.columns(['tenant_id', 'topic', 'day']).doUpdateSet({ count: sql`counts.count + 1` }),
      )
      .execute()
  })
})

app.post('/rpc/stats/counts', async (request) => {
  const who = await caller(request)
  const rows = await inTenant(who, (trx) =>
    trx
      .selectFrom('counts')
      .select(['topic', (column) => column.fn.sum<string>('count').as('count')])
      .groupBy('topic')
      .orderBy('topic')
      .execute(),
  )
  return { items: rows.map(({ topic, count }) => ({ topic, count: Number(count) })) }
})
await listen(app)
