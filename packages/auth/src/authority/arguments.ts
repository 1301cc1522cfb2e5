import { refuseUnknownKeys } from '@quintet/core/kit'
import {
  assertId,
  assertSessionId,
  isPlainText,
  type SessionRef,
  type UserRef,
} from '../sessions/session-keys.ts'
import type { Device } from '../sessions/session-record.ts'
import type { SignIn, StepUp } from './session-authority.ts'

/** In bytes of JSON. With all else in it a token stays below what verifiers look at. */
const maxListsSize = 4_096
const maxDeviceText = 256
const maxReason = 200
const jktPattern = /^[A-Za-z0-9_-]{43}$/

/** @throws TypeError naming what is wrong. */
export function checkSignIn(user: SignIn): void {
  refuseUnknownKeys(
    user,
    ['userId', 'tenantId', 'roles', 'permissions', 'amr', 'aal', 'device', 'jkt', 'epoch'],
    'signIn',
  )
  checkUser(user, 'signIn')
  checkLevel(user.aal ?? 1, 'signIn.aal')
  checkLists(user, 'signIn')
  if (user.epoch !== undefined && !(Number.isSafeInteger(user.epoch) && user.epoch >= 0)) {
    throw new TypeError(`signIn.epoch: ${JSON.stringify(user.epoch)} is not what epochOf gives.`)
  }
  if (user.jkt !== undefined && !jktPattern.test(user.jkt)) {
    throw new TypeError('signIn.jkt: is not a JWK thumbprint (SHA-256, base64url).')
  }
}

/** @throws TypeError naming what is wrong. */
export function checkStepUp(proved: StepUp): void {
  refuseUnknownKeys(proved, ['aal', 'amr', 'roles', 'permissions', 'jkt', 'sessionId'], 'stepUp')
  checkLevel(proved.aal, 'stepUp.aal')
  checkLists(proved, 'stepUp')
}

function checkLevel(aal: number, path: string): void {
  if (![1, 2, 3].includes(aal)) throw new TypeError(`${path}: ${JSON.stringify(aal)} must be 1, 2 or 3.`)
}

/** What is too much for a token is refused before anything has changed: the session could not be used. */
export function checkLists(lists: Pick<SignIn, 'roles' | 'permissions' | 'amr'>, path: string): void {
  let size = 0
  for (const name of ['roles', 'permissions', 'amr'] as const) {
    const list = lists[name] ?? []
    if (!Array.isArray(list) || !list.every((each) => typeof each === 'string')) {
      throw new TypeError(`${path}.${name}: give a list of texts.`)
    }
    if (!list.every(isPlainText)) {
      throw new TypeError(`${path}.${name}: holds a text with control characters, or that is no Unicode.`)
    }
    size += Buffer.byteLength(JSON.stringify(list))
  }
  if (size > maxListsSize) {
    throw new TypeError(
      `${path}: roles, permissions and amr take ${size} bytes, more than the ${maxListsSize} that fit into an access token.`,
    )
  }
}

/** @throws TypeError when it is no reason that every ledger can keep. */
export function checkReason(reason: string, path: string): void {
  if (typeof reason === 'string' && reason.length <= maxReason && isPlainText(reason)) return
  throw new TypeError(`${path}: give a text of at most ${maxReason} characters without control characters.`)
}

/** What a client says of itself can be long and strange; it is only shown. */
export function toDevice(device: Device): Device {
  const known = ['name', 'userAgent', 'address'] as const
  refuseUnknownKeys(device, known, 'signIn.device')
  return Object.fromEntries(
    known.flatMap((name) => {
      const text = device[name]
      if (text === undefined) return []
      if (typeof text !== 'string') throw new TypeError(`signIn.device.${name}: is no text.`)
      return [
        [
          name,
          text
            .slice(0, maxDeviceText)
            .toWellFormed()
            .replace(/\p{Cc}/gu, ' '),
        ],
      ]
    }),
  )
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
