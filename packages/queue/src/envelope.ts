import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import { systemPrincipal, type Principal } from '@quintet/core'
import { QueueError } from './errors.ts'

/** A secret: text, or an object that gives the text on request, such as core's `Secret`. */
export type SecretText = string | { reveal(): string }

/** What lies in the queue: for whom a job runs, what it carries, and proof that one of us put it there. */
export interface Envelope {
  readonly v: 1
  readonly context: EnvelopeContext
  readonly payload: unknown
  /** base64url HMAC-SHA-256 over job name, id, context and payload. */
  readonly mac: string
}

export interface EnvelopeContext {
  readonly kind: 'user' | 'system'
  readonly tenantId: string | null
  readonly userId: string | null
  readonly actor: string | null
  readonly roles: readonly string[]
  readonly permissions: readonly string[]
  readonly traceparent: string | null
  /** Milliseconds since the epoch. */
  readonly issuedAt: number
}

/** Seals jobs and opens them again. */
export interface EnvelopeSealer {
  seal(job: JobIdentity, principal: Principal, payload: unknown, traceparent: string | undefined): Envelope
  /** @throws QueueError `ERR_QUEUE_BAD_ENVELOPE` for what none of us has sealed for this very job. */
  open(
    job: JobIdentity,
    envelope: unknown,
  ): { readonly principal: Principal; readonly context: EnvelopeContext; readonly payload: unknown }
}

export interface JobIdentity {
  readonly name: string
  /** Undefined where the queue gives the id only after the job was sealed. */
  readonly id: string | undefined
}

const minSecretLength = 32

/**
 * Makes a sealer. Whoever can write to Redis but lacks the secret can make no job that runs for a tenant.
 *
 * @throws TypeError when the secret has fewer than 32 bytes.
 * @see RFC 2104 (HMAC), RFC 5869 (HKDF)
 */
export function createSealer(secret: SecretText): EnvelopeSealer {
  const text = typeof secret === 'string' ? secret : secret.reveal()
  if (Buffer.byteLength(text) < minSecretLength) {
    throw new TypeError(`secret: needs at least ${minSecretLength} bytes of random data.`)
  }
  const key = Buffer.from(hkdfSync('sha256', text, '', 'quintet/queue/job-envelope/v1', 32))
  const macOf = (job: JobIdentity, context: unknown, payload: unknown): Buffer =>
    createHmac('sha256', key)
      .update(JSON.stringify([job.name, job.id ?? null, context, payload]))
      .digest()

  return {
    seal(job, principal, payload, traceparent) {
      const context = toContext(principal, traceparent)
      // Sealed as it will be read: without what JSON leaves out.
      const plain: unknown = payload === undefined ? null : JSON.parse(JSON.stringify(payload))
      return { v: 1, context, payload: plain, mac: macOf(job, context, plain).toString('base64url') }
    },
    open(job, envelope) {
      if (!isEnvelope(envelope)) throw badEnvelope('it has not the form of one')
      const { context, payload, mac } = envelope
      const expected = macOf(job, context, payload)
      const given = Buffer.from(mac, 'base64url')
      if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
        throw badEnvelope('its signature is not ours')
      }
      return { principal: toPrincipal(context), context, payload }
    },
  }
}

function toContext(principal: Principal, traceparent: string | undefined): EnvelopeContext {
  if (principal.kind === 'anonymous') {
    throw new TypeError('A job runs for a user or for the system, never for nobody: give a principal.')
  }
  return {
    kind: principal.kind,
    tenantId: principal.tenantId,
    userId: principal.userId,
    actor: principal.kind === 'system' ? principal.actor : null,
    roles: principal.roles,
    permissions: principal.permissions,
    traceparent: traceparent ?? null,
    issuedAt: Date.now(),
  }
}

function toPrincipal(context: EnvelopeContext): Principal {
  if (context.kind === 'system') return systemPrincipal(context.actor ?? 'job', context.tenantId)
  if (context.userId === null || context.tenantId === null) throw badEnvelope('it names no user')
  return Object.freeze({
    kind: 'user',
    userId: context.userId,
    tenantId: context.tenantId,
    sessionId: null,
    expiresAt: null,
    roles: Object.freeze([...context.roles]),
    permissions: Object.freeze([...context.permissions]),
    claims: Object.freeze({}),
  })
}

function isEnvelope(value: unknown): value is Envelope {
  if (typeof value !== 'object' || value === null) return false
  const { v, context, mac } = value as Record<string, unknown>
  return v === 1 && typeof context === 'object' && context !== null && typeof mac === 'string'
}

function badEnvelope(reason: string): QueueError {
  return new QueueError(`The job's envelope was refused: ${reason}.`, {
    code: 'ERR_QUEUE_BAD_ENVELOPE',
    kind: 'forbidden',
  })
}
