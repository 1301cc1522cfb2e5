import {
  createHmac,
  createSecretKey,
  hkdfSync,
  randomUUID,
  timingSafeEqual,
  type KeyObject,
} from 'node:crypto'
import { anonymous, type Principal } from '@quintet/core'
import { QueueError } from '../errors.ts'

/** A secret: text, or an object that gives the text on request, such as core's `Secret`. */
export type SecretText = string | { reveal(): string }

/** For whom a job runs, since when, and as part of which trace. */
export interface EnvelopeContext {
  readonly kind: Principal['kind']
  readonly tenant: string | null
  readonly user: string | null
  readonly roles: readonly string[]
  readonly permissions: readonly string[]
  /** Which part of the system acts, for a system principal. */
  readonly actor: string | null
  readonly traceparent: string | null
  /** Milliseconds since the epoch. */
  readonly issuedAt: number
  /** When it opens no more; milliseconds since the epoch. */
  readonly expiresAt: number
  /** Tells envelopes with the same content apart. */
  readonly nonce: string
}

/** What travels through Redis: the payload, for whom it is, and the proof that one of ours says so. */
export interface Envelope {
  readonly v: 1
  readonly ctx: EnvelopeContext
  readonly payload: unknown
  /** Which secret signed it; a hint for counting, not a proof. */
  readonly kid: string
  /** HMAC-SHA-256 over version, queue, id, context and payload, base64url. */
  readonly mac: string
}

/** Which job an envelope belongs to; signed with it, so that it opens nothing else. */
export interface EnvelopeAddress {
  readonly prefix: string
  readonly job: string
  readonly id: string
}

export interface SealOptions {
  readonly traceparent?: string | undefined
  /** Milliseconds since the epoch. @defaultValue seven days from now */
  readonly expiresAt?: number | undefined
}

export interface OpenOptions {
  /** Opens what has expired as well, for an operator who takes it up again. */
  readonly expired?: boolean
}

/** Seals and opens envelopes. Whoever can write to Redis but lacks the secret can make none. */
export interface EnvelopeSigner {
  /** The id of the secret that signs. */
  readonly keyId: string
  seal(address: EnvelopeAddress, principal: Principal, payloadText: string, options?: SealOptions): Envelope
  /** @throws QueueError `ERR_QUEUE_BAD_ENVELOPE` saying what is wrong. */
  open(
    address: EnvelopeAddress,
    data: unknown,
    options?: OpenOptions,
  ): { readonly principal: Principal; readonly ctx: EnvelopeContext; readonly payload: unknown }
}

/** Separates this use of the secret from every other one (RFC 5869). */
const hkdfLabel = 'quintet/queue/envelope/v1'

const defaultLifetime = 7 * 86_400_000

/**
 * Makes a signer. The first secret signs, all of them verify, so that a secret can be replaced.
 *
 * @throws TypeError when a secret has fewer than 32 characters.
 */
export function createEnvelopeSigner(secret: SecretText | readonly SecretText[]): EnvelopeSigner {
  const keys = (Array.isArray(secret) ? secret : [secret]).map((each: SecretText) => deriveKey(each))
  const [signingKey] = keys
  if (signingKey === undefined) throw new TypeError('secret: needs at least one.')
  const keyId = createHmac('sha256', signingKey).update('key id').digest('base64url').slice(0, 8)

  return {
    keyId,
    seal(address, principal, payloadText, { traceparent, expiresAt = Date.now() + defaultLifetime } = {}) {
      const ctx = describePrincipal(principal, traceparent, expiresAt)
      assertSealable(ctx)
      const mac = sign(signingKey, address, ctx, payloadText).toString('base64url')
      return { v: 1, ctx, payload: JSON.parse(payloadText), kid: keyId, mac }
    },
    open(address, data, { expired = false } = {}) {
      const envelope = readEnvelope(data)
      const given = Buffer.from(envelope.mac, 'base64url')
      const text = JSON.stringify(envelope.payload)
      const genuine = keys.some((key) => {
        const expected = sign(key, address, envelope.ctx, text)
        return given.length === expected.length && timingSafeEqual(given, expected)
      })
      if (!genuine) throw refused('its signature is not one of ours for this job')
      if (!expired && Date.now() > envelope.ctx.expiresAt) throw refused('it has expired')
      return { principal: rebuildPrincipal(envelope.ctx), ctx: envelope.ctx, payload: envelope.payload }
    },
  }
}

function deriveKey(secret: SecretText): KeyObject {
  const text = typeof secret === 'string' ? secret : secret?.reveal?.()
  if (typeof text !== 'string' || text.length < 32)
    throw new TypeError('secret: needs at least 32 characters.')
  // As a key object, which costs a third of what raw bytes cost for each signature.
  return createSecretKey(Buffer.from(hkdfSync('sha256', text, '', hkdfLabel, 32)))
}

function sign(key: KeyObject, address: EnvelopeAddress, ctx: EnvelopeContext, payloadText: string): Buffer {
  const head = JSON.stringify([1, address.prefix, address.job, address.id, ctx])
  return createHmac('sha256', key).update(head).update('\n').update(payloadText).digest()
}

function describePrincipal(
  principal: Principal,
  traceparent: string | undefined,
  expiresAt: number,
): EnvelopeContext {
  return {
    kind: principal.kind,
    tenant: principal.tenantId,
    user: principal.userId,
    roles: principal.roles,
    permissions: principal.permissions,
    actor: principal.kind === 'system' ? principal.actor : null,
    traceparent: traceparent ?? null,
    issuedAt: Date.now(),
    expiresAt,
    nonce: randomUUID(),
  }
}

/** The principal of a genuine context. The session of a user may have ended, so none is claimed. */
function rebuildPrincipal(ctx: EnvelopeContext): Principal {
  const roles = Object.freeze([...ctx.roles])
  const permissions = Object.freeze([...ctx.permissions])
  if (ctx.kind === 'user' && ctx.user !== null && ctx.tenant !== null) {
    return Object.freeze({
      kind: 'user',
      userId: ctx.user,
      tenantId: ctx.tenant,
      sessionId: null,
      roles,
      permissions,
      expiresAt: null,
      claims: Object.freeze({}),
    })
  }
  if (ctx.kind === 'system' && ctx.actor !== null) {
    return Object.freeze({
      kind: 'system',
      userId: null,
      tenantId: ctx.tenant,
      sessionId: null,
      roles,
      permissions,
      actor: ctx.actor,
    })
  }
  if (ctx.kind === 'anonymous') return anonymous
  throw refused('its context names nobody')
}

function readEnvelope(data: unknown): Envelope {
  if (typeof data !== 'object' || data === null || Array.isArray(data)) throw refused('it is no envelope')
  const { v, ctx, payload, kid, mac } = data as Partial<Record<keyof Envelope, unknown>>
  if (v !== 1) throw refused('its version is unknown')
  if (typeof mac !== 'string') throw refused('it is not signed')
  if (payload === undefined) throw refused('it has no payload')
  if (!isContext(ctx)) throw refused('its context is malformed')
  return { v, ctx, payload, kid: typeof kid === 'string' ? kid : '', mac }
}

function isContext(value: unknown): value is EnvelopeContext {
  if (typeof value !== 'object' || value === null) return false
  const { kind, tenant, user, roles, permissions, actor, traceparent, issuedAt, expiresAt, nonce } =
    value as Record<string, unknown>
  return (
    typeof kind === 'string' &&
    [tenant, user, actor, traceparent].every((each) => each === null || typeof each === 'string') &&
    [roles, permissions].every(
      (each) => Array.isArray(each) && each.every((name) => typeof name === 'string'),
    ) &&
    typeof issuedAt === 'number' &&
    typeof expiresAt === 'number' &&
    typeof nonce === 'string'
  )
}

/** What would be refused where it is opened is refused where it is sealed. */
function assertSealable(ctx: EnvelopeContext): void {
  if (ctx.traceparent !== null && !isTraceparent(ctx.traceparent))
    throw new TypeError('traceparent: is not one of W3C Trace Context.')
  try {
    if (!isContext(ctx)) throw new TypeError('malformed')
    rebuildPrincipal(ctx)
  } catch (error) {
    throw new TypeError('principal: is none; its ids are texts, its roles and permissions lists of texts.', {
      cause: error,
    })
  }
}

export function isTraceparent(text: string | undefined): text is string {
  return typeof text === 'string' && traceparentPattern.test(text)
}

const traceparentPattern = /^[\da-f]{2}-[\da-f]{32}-[\da-f]{16}-[\da-f]{2}(?:-.{0,200})?$/

function refused(what: string): QueueError {
  return new QueueError('ERR_QUEUE_BAD_ENVELOPE', `The envelope was refused: ${what}.`)
}
