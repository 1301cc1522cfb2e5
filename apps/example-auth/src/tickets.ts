import { createHash, randomBytes } from 'node:crypto'
import { QuintetError } from '@quintet/core'
import { defineKeyset, type KeysetPage, type KeysetRequest } from '@quintet/rls/data'
import { sql, type Kysely, type Selectable, type Transaction } from 'kysely'
import type { Role } from './roles.ts'
import type { AuthTables } from './schema.ts'

export type Ticket = Selectable<AuthTables['tickets']>

export type NewTicket = { readonly tenantId: string; readonly email: string } & (
  | { readonly kind: 'invitation'; readonly invitedBy: string; readonly roles: readonly Role[] }
  | { readonly kind: 'password-reset' | 'email-verification'; readonly userId: string }
)

/** How long a ticket can be used, in hours. */
const lifetimes = { invitation: 7 * 24, 'password-reset': 1, 'email-verification': 24 } as const

/**
 * Makes a one-time token that goes to an address by mail. It takes the place of earlier ones for the same; but those for a new
 * password live on beside it until it is set, since anybody may ask for one and would take them from who has the mail.
 */
export async function issueTicket(trx: Transaction<AuthTables>, ticket: NewTicket): Promise<string> {
  const { kind, tenantId, email } = ticket
  const token = randomBytes(32).toString('base64url')
  if (kind !== 'password-reset')
    await trx
      .deleteFrom('tickets')
      .where('kind', '=', kind)
      .where('tenant_id', '=', tenantId)
      .where('email', '=', email)
      .execute()
  await trx
    .insertInto('tickets')
    .values({
      token_hash: hashOf(token),
      kind,
      tenant_id: tenantId,
      email,
      user_id: ticket.kind === 'invitation' ? null : ticket.userId,
      invited_by: ticket.kind === 'invitation' ? ticket.invitedBy : null,
      roles: ticket.kind === 'invitation' ? [...ticket.roles] : [],
      expires_at: sql<Date>`now() + make_interval(hours => ${lifetimes[kind]})`,
    })
    .execute()
  return token
}

/**
 * The ticket that a token is for, which can still be used. An invitation can as long as its inviter is an owner.
 *
 * @throws QuintetError `ERR_ACCOUNT_BAD_TICKET` (not-found)
 */
export async function findTicket(
  db: Kysely<AuthTables>,
  kind: Ticket['kind'],
  token: string,
): Promise<Ticket> {
  const ticket = await db
    .selectFrom('tickets')
    .selectAll('tickets')
    .where('token_hash', '=', hashOf(token))
    .where('kind', '=', kind)
    .where('expires_at', '>', sql<Date>`now()`)
    .where(
      sql<boolean>`(invited_by is null or exists (select from users
        where users.tenant_id = tickets.tenant_id and users.id = invited_by and 'owner' = any (users.roles)))`,
    )
    .executeTakeFirst()
  if (ticket) return ticket
  throw new QuintetError('The link is not valid any more. Ask for a new one.', {
    code: 'ERR_ACCOUNT_BAD_TICKET',
    kind: 'not-found',
  })
}

/** Uses a ticket up, in a change of the accounts of its tenant. @throws as `findTicket` does */
export async function redeemTicket(
  trx: Transaction<AuthTables>,
  kind: Ticket['kind'],
  token: string,
): Promise<Ticket> {
  const ticket = await findTicket(trx, kind, token)
  await trx.deleteFrom('tickets').where('token_hash', '=', ticket.token_hash).execute()
  return ticket
}

const byAddress = defineKeyset([{ column: 'email', type: 'text' }])

/** A page of the invitations of a tenant that can be accepted; to be asked as the system. */
export function listInvitations(
  db: Kysely<AuthTables>,
  tenantId: string,
  page: KeysetRequest,
): Promise<KeysetPage<Ticket>> {
  const open = db
    .selectFrom('tickets')
    .selectAll()
    .where('tenant_id', '=', tenantId)
    .where('kind', '=', 'invitation')
    .where('expires_at', '>', sql<Date>`now()`)
  return byAddress.page(open, page)
}

/** @throws QuintetError `ERR_ACCOUNT_NO_INVITATION` (not-found) */
export async function withdrawInvitation(
  trx: Transaction<AuthTables>,
  tenantId: string,
  email: string,
): Promise<void> {
  const { numDeletedRows } = await trx
    .deleteFrom('tickets')
    .where('tenant_id', '=', tenantId)
    .where('kind', '=', 'invitation')
    .where('email', '=', email)
    .executeTakeFirst()
  if (numDeletedRows > 0n) return
  throw new QuintetError('There is no such invitation.', {
    code: 'ERR_ACCOUNT_NO_INVITATION',
    kind: 'not-found',
  })
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
