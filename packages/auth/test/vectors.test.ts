import { existsSync, readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, it } from 'vitest'
import { algorithms, type VerificationAlgorithm } from '../src/keys/algorithms.ts'
import type { Jwk } from '../src/keys/import-key.ts'
import { importVerificationKey } from '../src/keys/import-key.ts'
import { keySet } from '../src/keys/key-set.ts'
import { keyIdOf, parseCompactJws } from '../src/tokens/compact-jws.ts'
import { verifyCompactJws, verifySignature } from '../src/tokens/verify-signature.ts'

interface Vector {
  readonly tcId: number
  readonly comment: string
  readonly jws: unknown
  readonly result: 'valid' | 'invalid' | 'acceptable'
}

interface Group {
  readonly public?: Jwk & { readonly keys?: Jwk[] }
  readonly private: Jwk & { readonly keys?: Jwk[] }
  readonly tests: readonly Vector[]
}

const folder = resolve(import.meta.dirname, '../../../../shared/vectors')
const present = existsSync(folder)
const every = Object.keys(algorithms) as VerificationAlgorithm[]
if (!present)
  console.warn(`SKIPPED: the Wycheproof vectors are not at ../shared/vectors beside the repository.`)

function read(name: string): readonly Group[] {
  if (!present) return []
  return (JSON.parse(readFileSync(resolve(folder, name), 'utf8')) as { testGroups: Group[] }).testGroups
}

/** Where we and the vectors disagree on purpose, and why. */
const signatureWaivers: Readonly<Record<number, string>> = {
  259: 'an empty payload is never a JWT',
  264: 'an empty payload is never a JWT',
  268: 'an empty payload is never a JWT',
  272: 'an empty payload is never a JWT',
  320: 'an empty payload is never a JWT',
  325: 'an empty payload is never a JWT',
  346: 'the key is for PS256, the token says PS384: one key, one algorithm',
  350: 'the key is for PS256, the token says PS384: one key, one algorithm',
  347: 'the key names the algorithm "ES521", which does not exist',
  351: 'the key names the algorithm "ES521", which does not exist',
  367: 'its bytes are those of the valid vector 357',
  370: 'its bytes are those of the valid vector 357',
  372: 'it has a "?", which is not in the alphabet of base64url',
  373: 'it has a "?", which is not in the alphabet of base64url',
}
const keyWaivers: Readonly<Record<number, string>> = {
  7: 'RSA keys are not accepted unless asked for, and the ROCA weakness is not looked for',
}

async function verdict(verify: () => Promise<unknown>): Promise<'valid' | 'invalid'> {
  try {
    await verify()
    return 'valid'
  } catch {
    return 'invalid'
  }
}

describe.skipIf(!present)('Wycheproof JSON Web Signature vectors', () => {
  it('agree with the verifier, but for the named waivers', async () => {
    const disagreements: number[] = []
    let count = 0
    for (const group of read('wycheproof_json_web_signature.json')) {
      const jwk = { kid: 'none', ...(group.public ?? group.private) }
      for (const { tcId, jws, result } of group.tests) {
        count++
        const ours = await verdict(async () =>
          verifyCompactJws(jws as string, await importVerificationKey(jwk, every)),
        )
        if (ours !== result) disagreements.push(tcId)
      }
    }
    expect(count).toBe(401)
    expect(disagreements.toSorted((a, b) => a - b)).toEqual(
      Object.keys(signatureWaivers)
        .map(Number)
        .toSorted((a, b) => a - b),
    )
  })
})

describe.skipIf(!present)('Wycheproof JSON Web Key vectors', () => {
  it('agree with the key set, but for the named waivers', async () => {
    const disagreements: number[] = []
    let count = 0
    for (const group of read('wycheproof_json_web_key.json')) {
      const set = { keys: (group.public ?? group.private).keys ?? [] }
      for (const { tcId, jws, result } of group.tests) {
        count++
        const ours = await verdict(async () => {
          const keys = await keySet(set, { algorithms: every })
          const parsed = parseCompactJws(jws)
          const key = await keys.find(keyIdOf(parsed))
          if (key === undefined) throw new Error('no such key')
          await verifySignature(jws as string, parsed, key)
        })
        if (ours !== result) disagreements.push(tcId)
      }
    }
    expect(count).toBe(26)
    expect(disagreements).toEqual(Object.keys(keyWaivers).map(Number))
  })
})
