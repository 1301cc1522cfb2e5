import { option, readOptions, type NoteProblem, type ResolvedOptions } from '@quintet/core/kit'
import {
  assertId,
  assertSessionId,
  isPlainText,
  type SessionRef,
  type UserRef,
} from '../sessions/session-keys.ts'
import type { Device } from '../sessions/session-record.ts'
import type { UserRights } from './authority-options.ts'
import type { RefreshOptions, RevokeWithinOptions, SignIn, StepUp } from './session-authority.ts'
import { normalizeAccount, normalizeAddress, type SignInAttempt } from './throttle.ts'

/**
 * In bytes of JSON: with all else in it a token stays below what verifiers look at. Each has its own, since a refresh
 * changes the rights of a session whose methods it does not know.
 */
const maxRightsSize = 3_584
const maxMethodsSize = 512
const maxDeviceText = 256
const maxReason = 200

const id = option.parsed('an id', (given, path): string => {
  assertId(given, path)
  return given
})

const sessionId = option.parsed('the id of a session', (given, path): string => {
  assertSessionId(given, path)
  return given
})

const plainTexts = option.list(
  option.parsed('a text', (given, path): string => {
    if (typeof given !== 'string') throw new TypeError(`${path}: give a text.`)
    if (isPlainText(given)) return given
    throw new TypeError(`${path}: holds control characters, or is no Unicode.`)
  }),
)

/** NIST SP 800-63B. */
const level = option.count(undefined, { min: 1, max: 3 })

const thumbprint = option.text(undefined, {
  pattern: /^[A-Za-z0-9_-]{43}$/,
  expected: 'a JWK thumbprint (SHA-256, base64url)',
})

/** What a client says of itself can be long and strange; it is only shown. */
const deviceText = option
  .parsed('a text', (given, path): string => {
    if (typeof given === 'string') return given
    throw new TypeError(`${path}: is no text.`)
  })
  .map((text) =>
    text
      .slice(0, maxDeviceText)
      .toWellFormed()
      .replace(/\p{Cc}/gu, ' '),
  )
  .optional()

const deviceSpec = { name: deviceText, userAgent: deviceText, address: deviceText }

const signInSpec = {
  userId: id,
  tenantId: id,
  roles: plainTexts,
  permissions: plainTexts,
  amr: plainTexts,
  aal: level.or(1),
  device: option.nested(deviceSpec).map(withoutAbsent),
  jkt: thumbprint.optional(),
  epoch: option.count().optional(),
  clientId: id.optional(),
}

/** @throws TypeError naming what is wrong. */
export function readSignIn(user: SignIn): ResolvedOptions<typeof signInSpec> {
  return readOptions<SignIn, typeof signInSpec>(user, signInSpec, 'signIn', { check: checkSize })
}

const stepUpSpec = {
  aal: level,
  amr: plainTexts.required(),
  roles: plainTexts.optional(),
  permissions: plainTexts.optional(),
  jkt: thumbprint.optional(),
  sessionId: sessionId.optional(),
}

/** @throws TypeError naming what is wrong. */
export function readStepUp(proved: StepUp): ResolvedOptions<typeof stepUpSpec> {
  return readOptions<StepUp, typeof stepUpSpec>(proved, stepUpSpec, 'stepUp', { check: checkSize })
}

const anyText = option.text(undefined, { pattern: /^[^]*$/, expected: 'a text' })

const attemptSpec = {
  account: anyText.map(normalizeAccount),
  /** Null or empty where the surface does not know it. */
  address: option
    .either(anyText, option.parsed('null', asNull))
    .map((given, path) => (given === null || given === '' ? undefined : normalizeAddress(given, path)))
    .optional(),
  deviceToken: anyText.optional(),
}

/** @throws TypeError naming what is wrong. */
export function readAttempt(attempt: SignInAttempt): ResolvedOptions<typeof attemptSpec> {
  return readOptions<SignInAttempt, typeof attemptSpec>(attempt, attemptSpec, 'admitSignIn')
}

const refreshSpec = { jkt: thumbprint.optional() }

/** @throws TypeError naming what is wrong. */
export function readRefresh(options: RefreshOptions): ResolvedOptions<typeof refreshSpec> {
  return readOptions<RefreshOptions, typeof refreshSpec>(options, refreshSpec, 'refresh')
}

const revokeWithinSpec = {
  reason: option
    .parsed('a reason', (given, path): string => {
      checkReason(given, path)
      return given
    })
    .or('signed-out-everywhere'),
  kept: sessionId.optional(),
}

/** @throws TypeError naming what is wrong. */
export function readRevokeWithin(options: RevokeWithinOptions): ResolvedOptions<typeof revokeWithinSpec> {
  return readOptions<RevokeWithinOptions, typeof revokeWithinSpec>(options, revokeWithinSpec, 'revokeWithin')
}

const rightsSpec = { roles: plainTexts.required(), permissions: plainTexts }

/** What a user may do, of all that `loadUser` gives. @throws TypeError naming what is wrong. */
export function readRights(user: UserRights): ResolvedOptions<typeof rightsSpec> {
  const { roles, permissions = [] } = user
  const rights: UserRights = { roles, permissions }
  return readOptions<UserRights, typeof rightsSpec>(rights, rightsSpec, 'loadUser', { check: checkSize })
}

type Lists = Readonly<Partial<Record<'roles' | 'permissions' | 'amr', readonly string[] | undefined>>>

/** What is too much for a token is refused before anything has changed: the session could not be used. */
function checkSize(lists: Lists, note: NoteProblem): void {
  for (const problem of sizeProblems(lists)) note('', problem)
}

/** The same for what a session would have after a change. @throws TypeError */
export function assertSize(lists: Lists, path: string): void {
  const [problem] = sizeProblems(lists)
  if (problem !== undefined) throw new TypeError(`${path}: ${problem}`)
}

function sizeProblems({ roles = [], permissions = [], amr = [] }: Lists): readonly string[] {
  const size = (list: readonly string[]): number => Buffer.byteLength(JSON.stringify(list))
  const sizes = [
    ['roles and permissions take', size(roles) + size(permissions), maxRightsSize],
    ['amr takes', size(amr), maxMethodsSize],
  ] as const
  return sizes
    .filter(([, taken, most]) => taken > most)
    .map(
      ([what, taken, most]) => `${what} ${taken} bytes, more than the ${most} that fit into an access token.`,
    )
}

/** @throws TypeError when it is no reason that every ledger can keep. */
export function checkReason(reason: unknown, path: string): asserts reason is string {
  if (typeof reason === 'string' && reason.length <= maxReason && isPlainText(reason)) return
  throw new TypeError(`${path}: give a text of at most ${maxReason} characters without control characters.`)
}

function asNull(given: unknown, path: string): null {
  if (given === null) return null
  throw new TypeError(`${path}: is no address.`)
}

function withoutAbsent(device: ResolvedOptions<typeof deviceSpec>): Device {
  return Object.fromEntries(Object.entries(device).filter(([, text]) => text !== undefined))
}

export function checkUser(user: UserRef, path: string): void {
  assertId(user.tenantId, `${path}.tenantId`)
  assertId(user.userId, `${path}.userId`)
}

export function checkRef(ref: SessionRef, path: string): SessionRef {
  checkUser(ref, path)
  assertSessionId(ref.sessionId, `${path}.sessionId`)
  return onlyRef(ref)
}

export function onlyUser({ tenantId, userId }: UserRef): UserRef {
  return { tenantId, userId }
}

export function onlyRef({ tenantId, userId, sessionId }: SessionRef): SessionRef {
  return { tenantId, userId, sessionId }
}
