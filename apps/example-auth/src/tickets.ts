import { createHash, randomBytes } from 'node:crypto'
import { QuintetError } from '@quintet/core'
import { sql, type Kysely, type Selectable, type Transaction } from 'kysely'
import type { Role } from './roles.ts'
import type { AuthTables } from './schema.ts'

export type Ticket = Selectable<AuthTables['tickets']>

export interface NewTicket {
  readonly kind: Ticket['kind']
  readonly tenantId: string
  readonly userId?: string
  readonly email: string
  readonly roles?: readonly Role[]
}

/** How long a ticket can be used, in hours. */
const lifetimes = { invitation: 7 * 24, 'password-reset': 1 } as const

/** Makes a one-time token that goes to an address by mail. It takes the place of earlier ones for the same. */
export async function issueTicket(db: Kysely<AuthTables>, ticket: NewTicket): Promise<string> {
  const { kind, tenantId, userId = null, email, roles = [] } = ticket
  const token = randomBytes(32).toString('base64url')
  await db.transaction().execute(async (trx) => {
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
        user_id: userId,
        email,
        roles: [...roles],
        expires_at: sql<Date>`now() + make_interval(hours => ${lifetimes[kind]})`,
      })
      .execute()
  })
  return token
}

/** @throws QuintetError `ERR_ACCOUNT_BAD_TICKET` (not-found) for a token that is unknown, used or expired. */
export async function redeemTicket(
  trx: Transaction<AuthTables>,
  kind: Ticket['kind'],
  token: string,
): Promise<Ticket> {
  const ticket = await trx
    .deleteFrom('tickets')
    .where('token_hash', '=', hashOf(token))
    .where('kind', '=', kind)
    .where('expires_at', '>', sql<Date>`now()`)
    .returningAll()
    .executeTakeFirst()
  if (ticket) return ticket
  throw new QuintetError('The link is not valid any more. Ask for a new one.', {
    code: 'ERR_ACCOUNT_BAD_TICKET',
    kind: 'not-found',
  })
}

function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}
