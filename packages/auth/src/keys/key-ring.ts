import type { webcrypto } from 'node:crypto'
import type { Duration } from '@quintet/core'
import { type Clock, option, readOptions } from '@quintet/core/kit'
import { AuthError } from '../errors.ts'
import type { SecretInput } from '../secrets.ts'
import type { SigningAlgorithm } from './algorithms.ts'
import type { Jwk } from './import-key.ts'
import {
  generateJwk,
  importKeyMaterial,
  type KeyInput,
  type KeyMaterial,
  type KeyState,
} from './key-material.ts'
import type { JwkSet } from './key-set.ts'
import { hasLost, type VerificationKey, type VerificationKeys } from './verification-keys.ts'

export interface KeyRingOptions {
  /** HS256 only where one app both issues and verifies: whoever can verify can mint. @defaultValue `'Ed25519'` */
  readonly algorithm?: SigningAlgorithm
  /** The keys, e.g. from configuration. @defaultValue one signing key, generated; it is lost when the process ends */
  readonly keys?: readonly KeyInput[]
  /**
   * How long a key must have been in the JWKS before it may sign: at least as long as verifiers cache it.
   * @defaultValue `'15m'`
   */
  readonly prepublish?: Duration
  /**
   * How long tokens of a former signing key are accepted: the life of an access token plus clock skew. Then the key is
   * dropped. An authority whose tokens live longer makes it longer.
   * @defaultValue `'6m'`
   */
  readonly retain?: Duration
  readonly clock?: Clock
}

export const keyRingDefaults: Readonly<{ algorithm: 'Ed25519'; prepublish: Duration; retain: Duration }> =
  Object.freeze({ algorithm: 'Ed25519', prepublish: '15m', retain: '6m' })

/** One key as an operator sees it. */
export interface KeyInfo {
  readonly kid: string
  readonly algorithm: SigningAlgorithm
  readonly state: KeyState
  /** When it came into this state, in milliseconds since the epoch. */
  readonly since: number
}

/** The key that signs now. */
export interface SigningKey {
  readonly kid: string
  readonly algorithm: SigningAlgorithm
  readonly key: webcrypto.CryptoKey
}

/** A key with its state, to be stored as a secret and given back as {@link KeyRingOptions.keys}. */
export interface StoredKey {
  readonly jwk: Jwk
  readonly kid: string
  readonly state: KeyState
  readonly since: number
}

/** The keys of an issuer: at most one signs, those to come are published, those that were still verify. */
export interface KeyRing extends VerificationKeys {
  readonly algorithm: SigningAlgorithm
  /** @throws AuthError `ERR_AUTH_NO_SIGNING_KEY` */
  signer(): SigningKey
  /** The public keys of every state; empty for HS256. */
  jwks(): JwkSet
  list(): readonly KeyInfo[]
  /** Adds a key that will sign later, generated if none is given. Resolves to its id. */
  prepublish(key?: KeyInput): Promise<string>
  /**
   * Lets the oldest prepublished key sign from now on, and the present one only verify.
   *
   * @throws TypeError when none has been published long enough.
   */
  rotate(): KeyInfo
  /** Forgets a key at once, e.g. one that leaked: its tokens are refused from now on. If it was the signing key, the oldest prepublished one takes over. */
  drop(kid: string): void
  /** Keeps keys that sign no more for at least so many milliseconds; an authority asks for the life of its tokens. */
  retainAtLeast(ms: number): void
  /** Takes over a whole new set, e.g. what another instance has stored. */
  replace(keys: readonly KeyInput[]): Promise<void>
  /** Every key with its private part. Keep it where secrets are kept. */
  export(): readonly StoredKey[]
}

interface Held extends KeyMaterial {
  readonly state: KeyState
  readonly since: number
  /** The same on the monotonic clock: how long a key has been in its state does not change when the time of day is set. */
  readonly from: number
}

const defaults = keyRingDefaults

const keyInputSpec = {
  jwk: option.parsed('a JSON Web Key', (given) => given as Jwk).optional(),
  pem: option.parsed('a key in PEM', (given) => given as SecretInput).optional(),
  secret: option.parsed('a secret', (given) => given as SecretInput).optional(),
  kid: option.text().optional(),
  state: option.oneOf(['prepublished', 'signing', 'verify-only']).optional(),
  since: option.number().optional(),
}

const spec = {
  algorithm: option.oneOf(['Ed25519', 'ES256', 'HS256'], defaults.algorithm),
  // Each is read when it is imported, as those of `replace()` are.
  keys: option.list(option.parsed('a key', (given) => given as KeyInput)).optional(),
  prepublish: option.duration(defaults.prepublish),
  retain: option.duration(defaults.retain),
  clock: option.clock(),
}

/**
 * Makes the key ring of an issuer.
 *
 * @throws TypeError when an option is unknown or a key is not usable.
 *
 * @example
 * const keys = await createKeyRing({ keys: config.signingKeys })
 */
export async function createKeyRing(options: KeyRingOptions = {}): Promise<KeyRing> {
  const { algorithm, keys, prepublish, retain, clock } = readOptions<KeyRingOptions, typeof spec>(
    options,
    spec,
    'createKeyRing',
  )
  const ring = new Ring(algorithm, prepublish, retain, clock)
  await ring.replace(keys ?? [{ jwk: generateJwk(algorithm), state: 'signing' }])
  return ring
}

class Ring implements KeyRing {
  readonly algorithm: SigningAlgorithm
  readonly #prepublishMs: number
  #retainMs: number
  readonly #clock: Clock
  #keys: readonly Held[] = []
  #epoch = 0
  /** When the next verify-only key is due to be dropped, on the monotonic clock. */
  #nextDrop = Infinity

  constructor(algorithm: SigningAlgorithm, prepublishMs: number, retainMs: number, clock: Clock) {
    this.algorithm = algorithm
    this.#prepublishMs = prepublishMs
    this.#retainMs = retainMs
    this.#clock = clock
  }

  get epoch(): number {
    this.#sweep()
    return this.#epoch
  }

  async find(kid: string): Promise<VerificationKey | undefined> {
    return this.#current().find((key) => key.kid === kid)?.verification
  }

  signer(): SigningKey {
    const held = this.#current().find((key) => key.state === 'signing')
    if (held === undefined) throw new AuthError('ERR_AUTH_NO_SIGNING_KEY')
    return { kid: held.kid, algorithm: held.algorithm, key: held.signingKey }
  }

  jwks(): JwkSet {
    return { keys: this.#current().flatMap((key) => (key.publicJwk === undefined ? [] : [key.publicJwk])) }
  }

  list(): readonly KeyInfo[] {
    return this.#current().map(describe)
  }

  async prepublish(input?: KeyInput): Promise<string> {
    const given = input ?? { jwk: generateJwk(this.algorithm) }
    const held = await this.#import({ ...given, state: 'prepublished' }, 'prepublish', 'prepublished')
    if (this.#current().some((key) => key.kid === held.kid)) {
      throw new TypeError(`prepublish: the ring already has the key ${held.kid}.`)
    }
    if (this.algorithm === 'HS256') {
      throw new TypeError('prepublish: HS256 is for one-key deployments. Use replace() to change the key.')
    }
    this.#set([...this.#keys, held])
    return held.kid
  }

  rotate(): KeyInfo {
    const next = oldest(this.#current(), 'prepublished')
    if (next === undefined)
      throw new TypeError('rotate: there is no prepublished key. Call prepublish() first.')
    const waits = next.from + this.#prepublishMs - this.#clock.monotonic()
    if (waits > 0) {
      throw new TypeError(
        `rotate: the key ${next.kid} must be published for another ${Math.ceil(waits / 1000)} s.`,
      )
    }
    this.#promote(next)
    return describe(this.#keys.find((key) => key.kid === next.kid) as Held)
  }

  drop(kid: string): void {
    const held = this.#current().find((key) => key.kid === kid)
    if (held === undefined) return
    this.#set(this.#keys.filter((key) => key.kid !== kid))
    const next = held.state === 'signing' ? oldest(this.#keys, 'prepublished') : undefined
    if (next !== undefined) this.#promote(next)
  }

  retainAtLeast(ms: number): void {
    if (ms <= this.#retainMs) return
    this.#retainMs = ms
    this.#set(this.#keys)
  }

  async replace(inputs: readonly KeyInput[]): Promise<void> {
    const held: Held[] = []
    for (const [index, input] of inputs.entries()) {
      held.push(await this.#import(input, `keys[${index}]`, index === 0 ? 'signing' : 'verify-only'))
    }
    if (new Set(held.map((key) => key.kid)).size < held.length) {
      throw new TypeError('createKeyRing.keys: two keys have one id.')
    }
    if (held.filter((key) => key.state === 'signing').length > 1) {
      throw new TypeError('createKeyRing.keys: only one key can be in state "signing".')
    }
    if (this.algorithm === 'HS256' && held.length > 1) {
      throw new TypeError('createKeyRing.keys: HS256 is for one-key deployments. Use Ed25519 to rotate keys.')
    }
    this.#set(held)
  }

  export(): readonly StoredKey[] {
    return this.#current().map(({ privateJwk, kid, state, since }) => ({
      jwk: privateJwk,
      kid,
      state,
      since,
    }))
  }

  async #import(given: KeyInput, at: string, initialState: KeyState): Promise<Held> {
    const path = `createKeyRing.${at}`
    const now = this.#clock.now()
    const {
      state = initialState,
      since = now,
      ...key
    } = readOptions<KeyInput, typeof keyInputSpec>(given, keyInputSpec, path)
    const material = await importKeyMaterial(key, this.algorithm, path)
    const from = this.#clock.monotonic() - (now - since)
    return Object.freeze({ ...material, state, since, from })
  }

  #promote(next: Held): void {
    const [since, from] = [this.#clock.now(), this.#clock.monotonic()]
    this.#set(
      this.#keys.map((key) => {
        if (key.kid === next.kid) return Object.freeze({ ...key, state: 'signing' as const, since, from })
        return key.state === 'signing'
          ? Object.freeze({ ...key, state: 'verify-only' as const, since, from })
          : key
      }),
    )
  }

  #set(keys: readonly Held[]): void {
    if (hasLost(verifying(this.#keys), verifying(keys))) this.#epoch++
    this.#keys = keys
    const due = keys.filter((key) => key.state === 'verify-only').map((key) => key.from + this.#retainMs)
    this.#nextDrop = Math.min(...due)
  }

  #sweep(): void {
    const now = this.#clock.monotonic()
    if (now < this.#nextDrop) return
    this.#set(this.#keys.filter((key) => key.state !== 'verify-only' || now < key.from + this.#retainMs))
  }

  #current(): readonly Held[] {
    this.#sweep()
    return this.#keys
  }
}

function oldest(keys: readonly Held[], state: KeyState): Held | undefined {
  return keys.filter((key) => key.state === state).toSorted((a, b) => a.from - b.from)[0]
}

function verifying(keys: readonly Held[]): readonly VerificationKey[] {
  return keys.map(({ verification }) => verification)
}

function describe({ kid, algorithm, state, since }: Held): KeyInfo {
  return { kid, algorithm, state, since }
}
