import type { Duration, Size } from '@quintet/core'
import { type Clock, delay, option, orAborted, readOptions, type ResolvedOptions } from '@quintet/core/kit'
import { AuthError, Refusal } from '../errors.ts'
import { algorithmsOption, type VerificationAlgorithm } from './algorithms.ts'
import { importKeySet, type JwkSet } from './key-set.ts'
import { hasLost, type VerificationKey, type VerificationKeys } from './verification-keys.ts'

/** The part of `fetch` that is needed. */
export type FetchJwks = (
  url: string,
  init: {
    readonly headers: Record<string, string>
    readonly redirect: 'error'
    readonly signal: AbortSignal
  },
) => Promise<Response>

export interface RemoteJwksOptions {
  /** The algorithms to accept; keys for others are passed over. @defaultValue `['Ed25519', 'ES256']` */
  readonly algorithms?: readonly VerificationAlgorithm[]
  /** How long a set is used before it is fetched again. @defaultValue `'10m'` */
  readonly cacheTtl?: Duration
  /**
   * The least time between two fetches, e.g. when tokens with unknown key ids come in. Until the first set has come,
   * a second at most.
   * @defaultValue `'10s'`
   */
  readonly cooldown?: Duration
  /** How long beyond `cacheTtl` a set is used while it cannot be fetched. @defaultValue `'1h'` */
  readonly staleIfError?: Duration
  /** How long one fetch may take. @defaultValue `'3s'` */
  readonly timeout?: Duration
  /** The largest answer. @defaultValue `'64kb'` */
  readonly maxSize?: Size
  /** Permits `http:` to other hosts than this one. @defaultValue false */
  readonly insecure?: boolean
  readonly fetch?: FetchJwks
  readonly clock?: Clock
}

export const remoteJwksDefaults: Readonly<{
  cacheTtl: Duration
  cooldown: Duration
  staleIfError: Duration
  timeout: Duration
  maxSize: Size
}> = Object.freeze({ cacheTtl: '10m', cooldown: '10s', staleIfError: '1h', timeout: '3s', maxSize: '64kb' })

const defaults = remoteJwksDefaults

const spec = {
  algorithms: algorithmsOption(),
  cacheTtl: option.duration(defaults.cacheTtl),
  cooldown: option.duration(defaults.cooldown),
  staleIfError: option.duration(defaults.staleIfError),
  timeout: option.delay(defaults.timeout, { min: 1 }),
  maxSize: option.size(defaults.maxSize, { min: 1 }),
  insecure: option.boolean(false),
  fetch: option.function<FetchJwks>((url, init) => fetch(url, init)),
  clock: option.clock(),
}

const loopback = new Set(['localhost', '127.0.0.1', '[::1]'])
const maxKeys = 64
/** How long a call whose key may still be used waits for a younger set, in milliseconds. */
const staleWait = 100
/** An issuer that starts after us should not be waited for longer than this. */
const firstCooldown = 1_000

/**
 * Verification keys from an issuer's JWKS endpoint: fetched at the first use, cached, fetched again when
 * old or when a token names a key that is not in it (but never more often than the cooldown), and kept for
 * a while when the issuer is down.
 *
 * @throws TypeError when the URL is not `https:` (or `http:` to this host).
 * @see RFC 7517 section 5
 */
export function remoteJwks(url: string | URL, options: RemoteJwksOptions = {}): VerificationKeys {
  const read = readOptions<RemoteJwksOptions, typeof spec>(options, spec, 'remoteJwks')
  return new RemoteJwks(checkUrl(String(url), read.insecure), read)
}

class RemoteJwks implements VerificationKeys {
  readonly #url: string
  readonly #options: ResolvedOptions<typeof spec>
  #keys: ReadonlyMap<string, VerificationKey> | undefined
  #fetchedAt = -Infinity
  #triedAt = -Infinity
  #lastFailure: unknown
  #running: Promise<void> | undefined
  #epoch = 0

  constructor(url: string, options: ResolvedOptions<typeof spec>) {
    this.#url = url
    this.#options = options
  }

  /**
   * Grows when a key has gone. Whoever asks keeps the set young too: with every token remembered, no key would be looked
   * up, and one that the issuer has dropped would be believed for as long as its tokens last.
   */
  get epoch(): number {
    const now = this.#options.clock.monotonic()
    const isOld = this.#keys !== undefined && now - this.#fetchedAt >= this.#options.cacheTtl
    if (isOld && this.#running === undefined && now - this.#triedAt >= this.#options.cooldown)
      void this.#refresh()
    return this.#epoch
  }

  async find(kid: string, signal?: AbortSignal): Promise<VerificationKey | undefined> {
    const now = this.#options.clock.monotonic()
    const known = this.#keys?.get(kid)
    const age = now - this.#fetchedAt
    if (known !== undefined && age < this.#options.cacheTtl) return known
    const cooldown =
      this.#keys === undefined ? Math.min(this.#options.cooldown, firstCooldown) : this.#options.cooldown
    if (this.#running !== undefined || now - this.#triedAt >= cooldown) {
      const refreshed = this.#refresh()
      // One fetch serves all callers; one that goes away ends its own wait alone.
      if (known === undefined || !this.#isUsable()) await orAborted(refreshed, signal)
      // An issuer that hangs, or failed the last time, delays no call whose key may still be used.
      else if (this.#lastFailure === undefined) await Promise.race([refreshed, delay(staleWait)])
    }
    const usable = this.#isUsable()
    const found = usable ? this.#keys?.get(kid) : undefined
    // With the issuer unreachable it is unknown whether the key exists: that is an outage, not a bad token.
    if (found === undefined && (this.#lastFailure !== undefined || !usable)) {
      throw new AuthError('ERR_AUTH_UNAVAILABLE', { cause: this.#lastFailure })
    }
    return found
  }

  async ready(): Promise<void> {
    const isOver =
      this.#options.clock.monotonic() - this.#triedAt >= Math.min(this.#options.cooldown, firstCooldown)
    if (!this.#isUsable() && (this.#running !== undefined || isOver)) await this.#refresh()
    if (!this.#isUsable()) throw new AuthError('ERR_AUTH_UNAVAILABLE', { cause: this.#lastFailure })
  }

  #isUsable(): boolean {
    return (
      this.#options.clock.monotonic() - this.#fetchedAt < this.#options.cacheTtl + this.#options.staleIfError
    )
  }

  #refresh(): Promise<void> {
    return (this.#running ??= this.#load().finally(() => {
      this.#running = undefined
    }))
  }

  async #load(): Promise<void> {
    this.#triedAt = this.#options.clock.monotonic()
    try {
      const keys = await importKeySet(await this.#read(), this.#options.algorithms, 'skip')
      // An issuer without keys is one that is broken: its former set may still be right.
      if (keys.size === 0) throw new Refusal('The JWKS has no key that can be used.')
      const before = this.#keys
      this.#keys = keys
      this.#fetchedAt = this.#options.clock.monotonic()
      this.#lastFailure = undefined
      if (before !== undefined && hasLost([...before.values()], [...keys.values()])) this.#epoch++
    } catch (error) {
      this.#lastFailure = error
    }
  }

  async #read(): Promise<JwkSet> {
    const { fetch: request, timeout, maxSize } = this.#options
    const response = await request(this.#url, {
      headers: { accept: 'application/jwk-set+json, application/json' },
      redirect: 'error',
      signal: AbortSignal.timeout(timeout),
    })
    if (response.status !== 200) {
      await response.body?.cancel()
      throw new Refusal(`The JWKS endpoint answered with status ${response.status}.`)
    }
    const set = JSON.parse(await readText(response, maxSize)) as JwkSet
    if (set.keys.length > maxKeys) throw new Refusal(`The JWKS has more than ${maxKeys} keys.`)
    if (set.keys.some((jwk) => jwk.kty === 'oct' || jwk.d !== undefined)) {
      throw new Refusal('The JWKS shows secret keys; none of it can be trusted.')
    }
    return set
  }
}

async function readText(response: Response, maxSize: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let size = 0
  for await (const chunk of response.body ?? []) {
    size += chunk.length
    if (size > maxSize) throw new Refusal(`The JWKS is larger than ${maxSize} bytes.`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function checkUrl(text: string, insecure: boolean): string {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol === 'https:') return url.href
  if (url?.protocol === 'http:' && (insecure || loopback.has(url.hostname))) return url.href
  throw new TypeError(
    'remoteJwks: give an https: URL. http: works to this host, and elsewhere with insecure: true on a network you trust.',
  )
}
