import { hash } from 'node:crypto'
import type { Duration } from '@quintet/core'
import { type Clock, option, readOptions, type ResolvedOptions } from '@quintet/core/kit'
import { AuthError, Refusal } from '../errors.ts'
import { onceScript } from '../sessions/scripts.ts'
import {
  BoundedRedis,
  defaultCommandTimeout,
  sessionRedisOption,
  type SessionRedis,
} from '../sessions/session-redis.ts'
import type { DpopNonces } from './dpop-nonces.ts'
import { verifyDpopProof, type ProvedRequest } from './dpop-proof.ts'

export interface DpopOptions {
  /** How old a proof may be; it cannot be used twice. @defaultValue `'1m'` */
  readonly window?: Duration
  /** Demands a nonce of this server in every proof. */
  readonly nonces?: DpopNonces
}

export interface DpopVerifierOptions extends DpopOptions {
  /** Where used proofs are remembered. */
  readonly redis: SessionRedis
  /** @defaultValue `'5s'` */
  readonly clockTolerance?: Duration
  /** How long Redis may take for one step. @defaultValue 400 */
  readonly commandTimeout?: Duration
  readonly clock?: Clock
}

/** Verifies proofs of possession, each once. */
export interface DpopVerifier {
  /**
   * Resolves to the thumbprint of the key.
   *
   * @throws AuthError `ERR_AUTH_DPOP_INVALID`, `ERR_AUTH_DPOP_NONCE_REQUIRED` (with `details.nonce`), or
   *   `ERR_AUTH_UNAVAILABLE`
   */
  verify(proof: string, request: ProvedRequest): Promise<string>
}

export const dpopDefaults: Readonly<{ window: Duration; clockTolerance: Duration }> = Object.freeze({
  window: '1m',
  clockTolerance: '5s',
})

/** How the part of the options is read that a manager has too. */
export const dpopSpec = {
  window: option.duration(dpopDefaults.window),
  nonces: option.collaborator<DpopNonces>(['issue', 'accepts'], 'createDpopNonces(...)').optional(),
}

const spec = {
  ...dpopSpec,
  redis: sessionRedisOption(),
  clockTolerance: option.duration(dpopDefaults.clockTolerance),
  commandTimeout: option.delay(defaultCommandTimeout, { min: 1 }),
  clock: option.clock(),
}

/** Makes a verifier of DPoP proofs, e.g. for the refresh endpoint. A manager has one of its own. */
export function createDpopVerifier(options: DpopVerifierOptions): DpopVerifier {
  const read = readOptions<DpopVerifierOptions, typeof spec>(options, spec, 'createDpopVerifier')
  return dpopVerifier(
    new BoundedRedis(read.redis, read.commandTimeout),
    read,
    read.clockTolerance,
    read.clock,
  )
}

/** As {@link createDpopVerifier}, over what a manager has already made. */
export function dpopVerifier(
  redis: BoundedRedis,
  { window, nonces }: ResolvedOptions<typeof dpopSpec>,
  tolerance: number,
  clock: Clock,
): DpopVerifier {
  return {
    async verify(proof, request) {
      try {
        const now = clock.now()
        const { jkt, jti, nonce } = await verifyDpopProof(proof, request, { now, window, tolerance })
        if (nonces !== undefined && !nonces.accepts(nonce)) {
          throw new AuthError('ERR_AUTH_DPOP_NONCE_REQUIRED', { details: { nonce: nonces.issue() } })
        }
        const key = `dpop:{${jkt}}:${hash('sha256', jti, 'base64url')}`
        // Made ahead of this clock, it may still be young by one that is behind.
        const first = await redis.run(onceScript, [key], [now, Math.ceil(window + 2 * tolerance)])
        if (first !== 1) throw new Refusal('The proof was used before.')
        return jkt
      } catch (error) {
        if (error instanceof Refusal) throw new AuthError('ERR_AUTH_DPOP_INVALID', { cause: error })
        throw error
      }
    },
  }
}
