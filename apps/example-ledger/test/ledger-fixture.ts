import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { openAppDatabase, type AppDatabase } from '@quintet/example-platform/testing'
import { runWithRlsContext } from '@quintet/rls'
import { postgresUrl } from '@quintet/test-kit'
import { Kysely, PostgresDialect } from 'kysely'
import { openAccount } from '../src/accounts.ts'
import type { LedgerTables } from '../src/schema.ts'
import { postTransfer, type Order, type Transfer } from '../src/transfers.ts'

/** A user of a tenant, at work in the ledger. */
export interface Member {
  readonly tenantId: string
  readonly userId: string
  readonly roles: readonly string[]
  as<T>(run: () => Promise<T>): Promise<T>
  open(currency?: string, ownerId?: string): Promise<string>
  post(order: OrderWithoutKey, idempotencyKey?: string): Promise<Transfer>
  balance(account: string): Promise<string>
}

type OrderWithoutKey = Order extends infer Each
  ? Each extends Order
    ? Omit<Each, 'idempotencyKey'>
    : never
  : never

export interface LedgerFixture extends AsyncDisposable {
  readonly database: AppDatabase
  readonly db: Kysely<LedgerTables>
  /** Ids of the transfers that were announced. */
  readonly announced: string[]
  member(tenantId: string, ...roles: string[]): Member
  /** Makes a user known to the ledger, as their event does. */
  addUser(tenantId: string, userId: string): Promise<void>
}

export async function openLedger(): Promise<LedgerFixture> {
  const database = await openAppDatabase(postgresUrl(), resolve(import.meta.dirname, '../src/migrations'))
  const db = new Kysely<LedgerTables>({ dialect: new PostgresDialect({ pool: database.pool }) })
  const announced: string[] = []
  const addUser: LedgerFixture['addUser'] = async (...user) => {
    await database.systemPool.query(
      'insert into users (tenant_id, id, removed) values ($1, $2, false) on conflict do nothing',
      user,
    )
  }
  return {
    addUser,
    database,
    db,
    announced,
    member(tenantId, ...roles) {
      const user = { tenantId, userId: randomUUID(), roles }
      const as: Member['as'] = (run) => runWithRlsContext(user, run)
      return {
        ...user,
        as,
        open: (currency = 'EUR', ownerId = user.userId) =>
          as(async () => {
            await addUser(tenantId, ownerId)
            const opening = { caller: user, authorize: () => undefined }
            return (await openAccount(db, { tenantId, ownerId, currency }, opening)).id
          }),
        post: (order, idempotencyKey = randomUUID()) =>
          as(() =>
            postTransfer(db, { ...order, idempotencyKey } as Order, async (_, { id }) => {
              announced.push(id)
            }),
          ),
        balance: (account) =>
          as(async () => {
            const row = await db
              .selectFrom('accounts')
              .select('balance')
              .where('id', '=', account)
              .executeTakeFirst()
            return row?.balance ?? 'missing'
          }),
      }
    },
    [Symbol.asyncDispose]: () => database[Symbol.asyncDispose](),
  }
}
