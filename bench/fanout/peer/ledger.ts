import { randomUUID } from 'node:crypto'
import { sql } from 'kysely'
import { z } from 'zod'
import { createServer, createVerifier, listen, openTenantDatabase } from './app.ts'
import { publish, startRelay } from './events.ts'

interface Tables {
  accounts: {
    id: string
    tenant_id: string
    owner_id: string | null
    currency: string
    balance: string
    version: number
  }
  transfers: {
    id: string
    tenant_id: string
    idempotency_key: string
    kind: string
    from_account: string
    to_account: string
    amount: string
    currency: string
    created_by: string
  }
  entries: { tenant_id: string; transfer_id: string; account_id: string; amount: string }
}

const inTenant = openTenantDatabase<Tables>()
const caller = createVerifier()
const app = createServer()

const refuse = (statusCode: number, message: string): Error =>
  Object.assign(new Error(message), { statusCode })
const view = (account: Tables['accounts']): object => ({
  id: account.id,
  ownerId: account.owner_id,
  currency: account.currency,
  balance: (Number(account.balance) / 100).toFixed(2),
  version: account.version,
})
const minorUnits = (amount: string): string => BigInt(amount.replace('.', '')).toString()
const Amount = z.string().regex(/^(?:0|[1-9]\d{0,12})\.\d{2}$/)
const Transfer = z.strictObject({
  from: z.uuid().optional(),
  account: z.uuid().optional(),
  to: z.uuid().optional(),
  amount: Amount,
  idempotencyKey: z.string().min(8).max(200),
})

app.post('/rpc/ledger/openAccount', async (request) => {
  const who = await caller(request)
  const { currency, ownerId } = z
    .strictObject({ currency: z.string().length(3), ownerId: z.uuid() })
    .parse(request.body)
  const account = await inTenant(who, (trx) =>
    trx
      .insertInto('accounts')
      .values({
        id: randomUUID(),
        tenant_id: who.tenantId,
        owner_id: ownerId,
        currency,
        balance: '0',
        version: 1,
      })
      .returningAll()
      .executeTakeFirstOrThrow(),
  )
  return view(account)
})

app.post('/rpc/ledger/accounts', async (request) => {
  const who = await caller(request)
  const { limit } = z.strictObject({ limit: z.int().min(1).max(500).default(100) }).parse(request.body ?? {})
  const accounts = await inTenant(who, (trx) => {
    const query = trx.selectFrom('accounts').selectAll().orderBy('id').limit(limit)
    return (
      who.roles.includes('owner')
        ? query.where('owner_id', 'is not', null)
        : query.where('owner_id', '=', who.userId)
    ).execute()
  })
  return { items: accounts.map(view), next: null }
})

for (const kind of ['fund', 'transfer'] as const) {
  app.post(`/rpc/ledger/${kind}`, async (request) => {
    const who = await caller(request)
    const input = Transfer.parse(request.body)
    const toId = input.to ?? input.account ?? ''
    const amount = minorUnits(input.amount)
    return inTenant(who, async (trx) => {
      const lock = JSON.stringify([who.tenantId, who.userId, kind, input.idempotencyKey])
      await sql`select pg_advisory_xact_lock(hashtextextended(${lock}, 0))`.execute(trx)
      let fromId = input.from
      if (kind === 'fund') {
        await sql`insert into accounts (tenant_id, owner_id, currency, balance) values (${who.tenantId}, null, 'EUR', 0)
          on conflict (tenant_id, currency) where owner_id is null do nothing`.execute(trx)
        fromId = (
          await trx
            .selectFrom('accounts')
            .select('id')
            .where('owner_id', 'is', null)
            .executeTakeFirstOrThrow()
        ).id
      }
      const accounts = await trx
        .selectFrom('accounts')
        .selectAll()
        .where('id', 'in', [fromId ?? '', toId])
        .orderBy('id')
        .forUpdate()
        .execute()
      const [from, to] = [fromId, toId].map((id) => accounts.find((account) => account.id === id))
      if (!from || !to) throw refuse(404, 'No such account')
      if (kind === 'transfer' && from.owner_id !== who.userId && !who.roles.includes('owner'))
        throw refuse(403, 'Not your account')
      const earlier = await trx
        .selectFrom('transfers')
        .selectAll()
        .where('created_by', '=', who.userId)
        .where('kind', '=', kind)
        .where('idempotency_key', '=', input.idempotencyKey)
        .executeTakeFirst()
      if (earlier) return { id: earlier.id }
      if (from.owner_id !== null && BigInt(from.balance) < BigInt(amount)) throw refuse(409, 'Overdraft')
      const transfer = await trx
        .insertInto('transfers')
        .values({
          id: randomUUID(),
          tenant_id: who.tenantId,
          idempotency_key: input.idempotencyKey,
          kind,
          from_account: from.id,
          to_account: to.id,
          amount,
          currency: from.currency,
          created_by: who.userId,
        })
        .returningAll()
        .executeTakeFirstOrThrow()
      await trx
        .insertInto('entries')
        .values([
          { tenant_id: who.tenantId, transfer_id: transfer.id, account_id: from.id, amount: `-${amount}` },
          { tenant_id: who.tenantId, transfer_id: transfer.id, account_id: to.id, amount },
        ])
        .execute()
      for (const [id, change] of [
        [from.id, `-${amount}`],
        [to.id, amount],
      ] as const) {
        await sql`update accounts set balance = balance + ${change}::bigint, version = version + 1 where id = ${id}`.execute(
          trx,
        )
      }
      await publish(trx as never, who, `ledger.${kind === 'fund' ? 'funded' : 'transferred'}`, {
        transferId: transfer.id,
        from: from.id,
        to: to.id,
        amount: input.amount,
        currency: from.currency,
      })
      return {
        id: transfer.id,
        kind,
        from: from.id,
        to: to.id,
        amount: input.amount,
        currency: from.currency,
      }
    })
  })
}
startRelay(['count', 'announce'])
await listen(app)
