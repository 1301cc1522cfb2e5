import { hash, randomBytes } from 'node:crypto'
import { createTotpSecret, encodeBase32, findTotpStep, totpUri } from '@quintet/auth'
import { QuintetError, type ClientInfo, type UserPrincipal } from '@quintet/core'
import { asSystem } from '@quintet/rls'
import { sql, type Kysely, type Transaction } from 'kysely'
import { assertCaller, changeAccounts } from './account-change.ts'
import { recordAudit } from './audit.ts'
import type { Role } from './roles.ts'
import type { AuthTables } from './schema.ts'
import type { AuthServices } from './services.ts'
import type { Credentials, User } from './users.ts'

const recoveryCodes = 10

/**
 * Makes the secret of an authenticator app for the caller, who has just confirmed their password. It counts for nothing before
 * a first code has come.
 *
 * @throws QuintetError `ERR_ACCOUNT_FACTOR_ENROLLED` (conflict)
 */
export async function enrol(
  services: AuthServices,
  principal: UserPrincipal,
  { user, epoch }: Credentials,
): Promise<{ readonly secret: string; readonly uri: string }> {
  const { tenantId, userId } = principal
  const secret = createTotpSecret()
  await changeAccounts(services, tenantId, 'enrol a second factor', async ({ trx }) => {
    await assertCaller(trx, principal, { epoch })
    const sealed = services.sealer.seal(secret, userId)
    const made = await trx
      .insertInto('second_factors')
      .values({ user_id: userId, secret: sealed })
      .onConflict((conflict) =>
        conflict
          .column('user_id')
          .doUpdateSet({ secret: sealed })
          .where('second_factors.confirmed_at', 'is', null),
      )
      .returning('user_id')
      .executeTakeFirst()
    if (made === undefined)
      throw new QuintetError('There is a second factor already. Remove it first.', {
        code: 'ERR_ACCOUNT_FACTOR_ENROLLED',
        kind: 'conflict',
      })
  })
  return { secret, uri: totpUri({ secret, issuer: new URL(services.issuer).host, account: user.email }) }
}

/** Takes the first code. The caller's other sessions end. Resolves to codes for when the app is lost, each good once. */
export async function confirm(
  services: AuthServices,
  principal: UserPrincipal,
  code: string,
  client: ClientInfo,
): Promise<readonly string[]> {
  const codes = Array.from({ length: recoveryCodes }, () => encodeBase32(randomBytes(10)))
  await prove(services, principal, client, async (trx, endOthers) => {
    if (!(await takeStep(services, trx, principal.userId, code, 'unconfirmed'))) return false
    const hashes = codes.map((each) => ({ user_id: principal.userId, code_hash: hashOf(each) }))
    await trx.insertInto('recovery_codes').values(hashes).execute()
    await audit(trx, principal, 'second-factor.enrolled', client)
    await endOthers('second factor enrolled')
    return true
  })
  return codes.map((each) => each.replaceAll(/.{4}(?=.)/g, '$&-'))
}

/** Removes the second factor of the caller, who has just confirmed their password and has a code. Their other sessions end. */
export async function remove(
  services: AuthServices,
  principal: UserPrincipal,
  code: string,
  client: ClientInfo,
): Promise<void> {
  await prove(services, principal, client, async (trx, endOthers) => {
    if (!(await takeCode(services, trx, principal.userId, code))) return false
    await trx.deleteFrom('second_factors').where('user_id', '=', principal.userId).execute()
    await audit(trx, principal, 'second-factor.removed', client)
    await endOthers('second factor removed')
    return true
  })
}

/** Uses a code up, of the app or for recovery. @throws QuintetError `ERR_ACCOUNT_BAD_CODE` (unauthenticated) */
export async function use(
  services: AuthServices,
  principal: UserPrincipal,
  code: string,
  client: ClientInfo,
): Promise<void> {
  await prove(services, principal, client, async (trx) => {
    if (!(await takeCode(services, trx, principal.userId, code))) return false
    await audit(trx, principal, 'second-factor.used', client)
    return true
  })
}

/** What a user may be in a session of an assurance level: an operator with a second factor is one where it was given. */
export async function rolesAt(
  { db, settings }: Pick<AuthServices, 'db' | 'settings'>,
  { id, roles }: Pick<User, 'id' | 'roles'>,
  aal: number,
): Promise<readonly Role[]> {
  if (!roles.includes('operator') || aal >= 2) return roles
  const enrolled = await asSystem('look for a second factor', () =>
    db
      .selectFrom('second_factors')
      .select('user_id')
      .where('user_id', '=', id)
      .where('confirmed_at', 'is not', null)
      .executeTakeFirst(),
  )
  if (enrolled === undefined && !settings.get('operatorsNeedSecondFactor')) return roles
  return roles.filter((role) => role !== 'operator')
}

/** Few tries in a while, one change at a time, and what fails leaves its trace. */
async function prove(
  services: AuthServices,
  principal: UserPrincipal,
  client: ClientInfo,
  steps: (trx: Transaction<AuthTables>, endOthers: (reason: string) => Promise<number>) => Promise<boolean>,
): Promise<void> {
  const { tenantId, userId, sessionId } = principal
  const pace = await services.limiter.consume(`second-factor:${userId}`, { limit: 10, period: '15m' })
  if (!pace.allowed)
    throw new QuintetError('Too many codes were tried. Try again later.', {
      code: 'ERR_ACCOUNT_TOO_MANY_CODES',
      kind: 'rate-limited',
      retryAfter: pace.retryAfter,
    })
  const isProved = await changeAccounts(services, tenantId, 'prove a second factor', async (change) => {
    await assertCaller(change.trx, principal, {})
    const kept = sessionId === null ? {} : { kept: sessionId }
    return await steps(change.trx, (reason) => change.endSessions([userId], { reason, ...kept }))
  })
  if (isProved) return
  await audit(services.db, principal, 'second-factor.refused', client)
  throw new QuintetError('The code is wrong, or was used before.', {
    code: 'ERR_ACCOUNT_BAD_CODE',
    kind: 'forbidden',
  })
}

/** @returns false where it is none. */
async function takeCode(
  services: AuthServices,
  trx: Transaction<AuthTables>,
  userId: string,
  code: string,
): Promise<boolean> {
  if (/^\d{6}$/.test(code)) return await takeStep(services, trx, userId, code, 'confirmed')
  const { numDeletedRows } = await trx
    .deleteFrom('recovery_codes')
    .where('user_id', '=', userId)
    .where('code_hash', '=', hashOf(code.replaceAll('-', '').toUpperCase()))
    .executeTakeFirst()
  return numDeletedRows > 0n
}

/** Takes a code of the app, once: the next one is of a later step. */
async function takeStep(
  { sealer }: AuthServices,
  trx: Transaction<AuthTables>,
  userId: string,
  code: string,
  state: 'confirmed' | 'unconfirmed',
): Promise<boolean> {
  const factor = await trx
    .selectFrom('second_factors')
    .select('secret')
    .where('user_id', '=', userId)
    .where('confirmed_at', state === 'confirmed' ? 'is not' : 'is', null)
    .executeTakeFirst()
  if (factor === undefined) return false
  const { text, isOld } = sealer.open(factor.secret, userId)
  const step = findTotpStep(text, code)
  if (step === undefined) return false
  const { numUpdatedRows } = await trx
    .updateTable('second_factors')
    .set({
      last_step: step,
      confirmed_at: sql<Date>`coalesce(confirmed_at, now())`,
      ...(isOld && { secret: sealer.seal(text, userId) }),
    })
    .where('user_id', '=', userId)
    .where(sql<boolean>`last_step < ${step}`)
    .executeTakeFirst()
  return numUpdatedRows > 0n
}

async function audit(
  db: Kysely<AuthTables>,
  { tenantId, userId }: UserPrincipal,
  type: Parameters<typeof recordAudit>[1]['type'],
  { address }: ClientInfo,
): Promise<void> {
  await recordAudit(db, { tenantId, type, actorId: userId, address })
}

function hashOf(code: string): Buffer {
  return hash('sha256', code, 'buffer')
}
