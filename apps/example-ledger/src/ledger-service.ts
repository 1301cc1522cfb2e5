import { QuintetError, service, type UserPrincipal, withServices } from '@quintet/core'
import { z } from 'zod'
import { listAccounts, openAccount, readStatement, type Account } from './accounts.ts'
import { assertMakerStands } from './former-owners.ts'
import { Amount, toAmount } from './money.ts'
import type { LedgerServices } from './services.ts'
import {
  approveTransfer,
  listEntries,
  listTransfers,
  postTransfer,
  rejectTransfer,
  type Announce,
  type ListedTransfer,
  type Order,
} from './transfers.ts'

const { procedure } = withServices<LedgerServices>()

const AccountView = z.object({
  id: z.uuid(),
  ownerId: z.uuid().nullable(),
  currency: z.string(),
  balance: z.string(),
  version: z.int(),
})
const Status = z.enum(['awaiting', 'rejected', 'posted', 'settled'])
const TransferView = z.object({
  id: z.uuid(),
  kind: z.enum(['fund', 'transfer', 'reversal']),
  from: z.uuid(),
  to: z.uuid(),
  amount: z.string(),
  currency: z.string(),
  status: Status,
  /** The transfer that this one takes back. */
  reverses: z.uuid().nullable(),
})
const Currency = z.string().regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code, e.g. "EUR"')
const IdempotencyKey = z
  .string()
  .min(8)
  .max(200)
  .refine((key) => key.isWellFormed(), 'must hold no half of a surrogate pair')
const Page = z.strictObject({
  limit: z.int().min(1).max(500).default(100),
  /** The `next` of the page before. */
  after: z.string().max(500).optional(),
})
const pageOf = <Item extends z.ZodType>(
  item: Item,
): z.ZodObject<{ items: z.ZodArray<Item>; next: z.ZodNullable<z.ZodString> }> =>
  z.object({ items: z.array(item), next: z.string().nullable() })

/** Accounts and double-entry transfers of the caller's tenant. What the caller may see is the policies' to say. */
export const ledger = service('ledger', {
  openAccount: procedure(
    {
      access: 'authenticated',
      description: 'Opens an account for the caller; for any user where an owner of the tenant asks.',
      input: z.strictObject({
        currency: Currency,
        ownerId: z.uuid(),
        idempotencyKey: IdempotencyKey.optional(),
      }),
      output: AccountView,
    },
    async ({ input: { idempotencyKey, ...wanted }, services, principal }) => {
      const account = { ...wanted, tenantId: principal.tenantId }
      const authorize = (): void => assertMayOpen(principal, account.ownerId)
      return viewAccount(
        await openAccount(services.db, account, { caller: principal, idempotencyKey, authorize }),
      )
    },
  ),

  accounts: procedure(
    {
      access: 'authenticated',
      description: "Lists the caller's accounts, oldest first; to an owner of the tenant those of all users.",
      input: Page,
      output: pageOf(AccountView),
    },
    async ({ input, services }) => {
      const { items, next } = await listAccounts(services.db, input)
      return { items: items.map(viewAccount), next }
    },
  ),

  statement: procedure(
    {
      access: 'authenticated',
      description: 'What went in and out of an account, newest first.',
      input: Page.extend({ account: z.uuid() }),
      output: pageOf(
        z.object({
          transfer: z.uuid(),
          kind: z.string(),
          amount: z.string(),
          balance: z.string(),
          at: z.iso.datetime(),
        }),
      ),
    },
    async ({ input: { account, ...page }, services }) => {
      const { items, next } = await readStatement(services.db, account, page)
      return {
        items: items.map((entry) => ({
          transfer: entry.transfer_id,
          kind: entry.kind,
          amount: toAmount(entry.amount, entry.minor_units),
          balance: toAmount(entry.balance_after, entry.minor_units),
          at: entry.created_at.toISOString(),
        })),
        next,
      }
    },
  ),

  fund: procedure(
    {
      access: { roles: ['owner'] },
      description:
        "Brings money in from outside, from the tenant's equity account. What is large, by itself or in a day, waits for another owner's approval.",
      input: z.strictObject({ account: z.uuid(), amount: Amount, idempotencyKey: IdempotencyKey }),
      output: TransferView,
    },
    async ({ input: { account, ...order }, services, principal }) => {
      const epoch = await services.verifier.epochOf(principal)
      return await post(services, { ...order, kind: 'fund', to: account, epoch }, 'ledger.funded')
    },
  ),

  approve: procedure(
    {
      access: { roles: ['owner'] },
      freshness: 'strict',
      description: 'Approves of money that another owner brings in.',
      input: z.strictObject({ transfer: z.uuid() }),
      output: TransferView,
    },
    async ({ input, services }) => {
      await assertMakerStands(services, input.transfer)
      return viewTransfer(
        await approveTransfer(services.db, input.transfer, announce(services, 'ledger.funded')),
      )
    },
  ),

  reject: procedure(
    {
      access: { roles: ['owner'] },
      freshness: 'strict',
      description:
        'Rejects money that an owner brings in and no one has approved of; its maker withdraws it so.',
      input: z.strictObject({ transfer: z.uuid() }),
      output: TransferView,
    },
    async ({ input, services }) => viewTransfer(await rejectTransfer(services.db, input.transfer)),
  ),

  transfer: procedure(
    {
      access: 'authenticated',
      description: 'Moves money between two accounts of the tenant, once per idempotency key.',
      input: z.strictObject({ from: z.uuid(), to: z.uuid(), amount: Amount, idempotencyKey: IdempotencyKey }),
      output: TransferView,
    },
    async ({ input, services }) => post(services, { ...input, kind: 'transfer' }, 'ledger.transferred'),
  ),

  reverse: procedure(
    {
      access: { roles: ['owner'] },
      description: 'Takes a transfer back by one the other way round; what is posted stays posted.',
      input: z.strictObject({ transfer: z.uuid(), idempotencyKey: IdempotencyKey }),
      output: TransferView,
    },
    async ({ input: { transfer, idempotencyKey }, services }) =>
      post(services, { kind: 'reversal', reverses: transfer, idempotencyKey }, 'ledger.transferred'),
  ),

  transfers: procedure(
    {
      access: 'authenticated',
      description: "Lists the caller's transfers, newest first; to an owner of the tenant all.",
      input: Page.extend({ status: Status.optional() }),
      output: pageOf(TransferView),
    },
    async ({ input: { status, ...page }, services }) => {
      const { items, next } = await listTransfers(services.db, status, page)
      return { items: items.map(viewTransfer), next }
    },
  ),

  entries: procedure(
    {
      access: 'authenticated',
      description:
        'Lists the entries of one transfer: those of accounts that the caller may see. Both sum to zero.',
      input: z.strictObject({ transfer: z.uuid() }),
      output: z.object({ items: z.array(z.object({ id: z.uuid(), account: z.uuid(), amount: z.string() })) }),
    },
    async ({ input, services }) => {
      const entries = await listEntries(services.db, input.transfer)
      return {
        items: entries.map(({ id, account_id, amount, minor_units }) => ({
          id,
          account: account_id,
          amount: toAmount(amount, minor_units),
        })),
      }
    },
  ),
})

type Topic = 'ledger.funded' | 'ledger.transferred'

async function post(
  services: LedgerServices,
  order: Order,
  topic: Topic,
): Promise<z.infer<typeof TransferView>> {
  return viewTransfer(await postTransfer(services.db, order, announce(services, topic)))
}

/** Tells the other apps of a transfer, in its transaction. */
function announce({ events }: LedgerServices, topic: Topic): Announce {
  return (trx, transfer) => {
    const { id, from, to, amount, currency } = viewTransfer(transfer)
    const { payer, payee } = transfer
    return events.publish(trx, topic, { transferId: id, from, to, amount, currency, payer, payee })
  }
}

/** @throws QuintetError `ERR_LEDGER_NOT_YOUR_ACCOUNT` (forbidden). */
function assertMayOpen({ userId, roles }: UserPrincipal, ownerId: string): void {
  if (ownerId === userId || roles.includes('owner')) return
  throw new QuintetError('Only an owner of the tenant opens accounts for others.', {
    code: 'ERR_LEDGER_NOT_YOUR_ACCOUNT',
    kind: 'forbidden',
  })
}

function viewAccount(account: Account): z.infer<typeof AccountView> {
  const { id, owner_id, currency, balance, version, minor_units } = account
  return { id, ownerId: owner_id, currency, balance: toAmount(balance, minor_units), version }
}

function viewTransfer(transfer: ListedTransfer): z.infer<typeof TransferView> {
  const { id, kind, from_account, to_account, amount, currency, status, reverses, minor_units } = transfer
  return {
    id,
    kind,
    from: from_account,
    to: to_account,
    amount: toAmount(amount, minor_units),
    currency,
    status,
    reverses,
  }
}
