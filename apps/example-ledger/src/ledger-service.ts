import { QuintetError, service, type UserPrincipal, withServices } from '@quintet/core'
import { z } from 'zod'
import { listAccounts, openAccount, type Account } from './accounts.ts'
import { Amount, toAmount, toMinorUnits } from './money.ts'
import type { LedgerServices } from './services.ts'
import { listEntries, postTransfer, type Transfer } from './transfers.ts'

const { procedure } = withServices<LedgerServices>()

const AccountView = z.object({
  id: z.uuid(),
  ownerId: z.uuid().nullable(),
  currency: z.string(),
  balance: z.string(),
  version: z.int(),
})
const TransferView = z.object({
  id: z.uuid(),
  kind: z.enum(['fund', 'transfer']),
  from: z.uuid(),
  to: z.uuid(),
  amount: z.string(),
  currency: z.string(),
  status: z.enum(['posted', 'settled']),
})
const Currency = z.string().regex(/^[A-Z]{3}$/, 'must be an ISO 4217 code, e.g. "EUR"')
const IdempotencyKey = z.string().min(8).max(200)

/** Accounts and double-entry transfers of the caller's tenant. */
export const ledger = service('ledger', {
  openAccount: procedure(
    {
      access: 'authenticated',
      description: 'Opens an account for the caller; for any user where an owner of the tenant asks.',
      input: z.strictObject({ currency: Currency, ownerId: z.uuid() }),
      output: AccountView,
    },
    async ({ input, services, principal }) => {
      if (input.ownerId !== principal.userId && !isOwner(principal)) {
        throw new QuintetError('Only an owner of the tenant opens accounts for others.', {
          code: 'ERR_LEDGER_NOT_YOUR_ACCOUNT',
          kind: 'forbidden',
        })
      }
      return viewAccount(await openAccount(services.db, { ...input, tenantId: principal.tenantId }))
    },
  ),

  accounts: procedure(
    {
      access: 'authenticated',
      description: "Lists the caller's accounts, oldest first; to an owner of the tenant those of all users.",
      input: z.strictObject({
        limit: z.int().min(1).max(500).default(100),
        after: z.string().max(500).optional(),
      }),
      output: z.object({
        items: z.array(AccountView),
        /** Where the next page begins: give it as `after`. Null on the last one. */
        next: z.string().nullable(),
      }),
    },
    async ({ input, services, principal }) => {
      const whose = isOwner(principal) ? {} : { ownerId: principal.userId }
      const { items, next } = await listAccounts(services.db, whose, input)
      return { items: items.map(viewAccount), next }
    },
  ),

  fund: procedure(
    {
      access: { roles: ['owner'] },
      description: "Brings money in from outside, from the tenant's equity account.",
      input: z.strictObject({ account: z.uuid(), amount: Amount, idempotencyKey: IdempotencyKey }),
      output: TransferView,
    },
    async ({ input, services, principal }) => {
      const order = {
        tenantId: principal.tenantId,
        userId: principal.userId,
        onBehalf: isOwner(principal),
        idempotencyKey: input.idempotencyKey,
        kind: 'fund' as const,
        from: undefined,
        to: input.account,
        amount: toMinorUnits(input.amount),
      }
      return viewTransfer(
        await postTransfer(services.db, order, (trx, made) =>
          services.events.publish(trx, 'ledger.funded', describeTransfer(made)),
        ),
      )
    },
  ),

  transfer: procedure(
    {
      access: 'authenticated',
      description: 'Moves money between two accounts of the tenant, once per idempotency key.',
      input: z.strictObject({ from: z.uuid(), to: z.uuid(), amount: Amount, idempotencyKey: IdempotencyKey }),
      output: TransferView,
    },
    async ({ input, services, principal }) => {
      if (input.from === input.to) {
        throw new QuintetError('An account cannot transfer to itself.', {
          code: 'ERR_LEDGER_SAME_ACCOUNT',
          kind: 'invalid-input',
        })
      }
      const order = {
        ...input,
        tenantId: principal.tenantId,
        userId: principal.userId,
        onBehalf: isOwner(principal),
        kind: 'transfer' as const,
        amount: toMinorUnits(input.amount),
      }
      return viewTransfer(
        await postTransfer(services.db, order, (trx, made) =>
          services.events.publish(trx, 'ledger.transferred', describeTransfer(made)),
        ),
      )
    },
  ),

  entries: procedure(
    {
      access: 'authenticated',
      description: 'Lists the entries of one transfer; they sum to zero.',
      input: z.strictObject({ transfer: z.uuid() }),
      output: z.object({ items: z.array(z.object({ id: z.uuid(), account: z.uuid(), amount: z.string() })) }),
    },
    async ({ input, services, principal }) => {
      const reader = { userId: principal.userId, seesAll: isOwner(principal) }
      const entries = await listEntries(services.db, input.transfer, reader)
      return {
        items: entries.map(({ id, account_id, amount }) => ({
          id,
          account: account_id,
          amount: toAmount(amount),
        })),
      }
    },
  ),
})

function isOwner({ roles }: UserPrincipal): boolean {
  return roles.includes('owner')
}

function viewAccount(account: Account): z.infer<typeof AccountView> {
  const { id, owner_id, currency, balance, version } = account
  return { id, ownerId: owner_id, currency, balance: toAmount(balance), version }
}

function viewTransfer(transfer: Transfer): z.infer<typeof TransferView> {
  const { id, kind, from_account, to_account, amount, currency, status } = transfer
  return { id, kind, from: from_account, to: to_account, amount: toAmount(amount), currency, status }
}

/** A transfer as others hear of it. */
function describeTransfer(transfer: Transfer): {
  transferId: string
  from: string
  to: string
  amount: string
  currency: string
} {
  const { id, from, to, amount, currency } = viewTransfer(transfer)
  return { transferId: id, from, to, amount, currency }
}
