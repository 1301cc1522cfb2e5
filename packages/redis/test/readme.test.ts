import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { RedisError } from '../src/index.ts'
import type { RedisErrorCode } from '../src/index.ts'
import * as api from '../src/index.ts'

const root = new URL('..', import.meta.url)
const readme = await readFile(new URL('README.md', root), 'utf8')

/** Every code once: the compiler holds the keys against the union. */
const codes: Record<RedisErrorCode, true> = {
  ERR_REDIS_CLOSED: true,
  ERR_REDIS_LOAD_TIMEOUT: true,
  ERR_REDIS_LOCK_HELD: true,
  ERR_REDIS_LOCK_LOST: true,
  ERR_REDIS_REFUSED: true,
  ERR_REDIS_UNAVAILABLE: true,
  ERR_REDIS_UNSUITABLE: true,
}

describe('README', () => {
  it('lists every error code with its kind, and no other', () => {
    const rows = [...readme.matchAll(/^\| `(ERR_\w+)` +\| ([\w-]+) +\|/gm)].map(([, code, kind]) => [
      code,
      kind,
    ])
    const expected = (Object.keys(codes) as RedisErrorCode[]).map((code) => [
      code,
      new RedisError(code, '').kind,
    ])
    expect(rows).toEqual(expected)
    expect(readme.match(/ERR_REDIS_\w+/g)?.filter((code) => !(code in codes))).toEqual([])
  })

  it('states the defaults that the code has', () => {
    const rows = new Map(
      [...readme.matchAll(/^\| `([\w.]+)` +\| `([^`]+)` +\|/gm)].map(([, name, value]) => [name, value]),
    )
    const defaults = {
      createRedisClients: api.redisClientsDefaults,
      createTrackedCache: api.trackedCacheDefaults,
      createRateLimiter: api.rateLimiterDefaults,
      createLocks: api.locksDefaults,
      createPubSub: api.pubSubDefaults,
      createJsonCache: api.jsonCacheDefaults,
    }
    for (const [factory, values] of Object.entries(defaults)) {
      for (const [name, value] of Object.entries(values)) {
        const shown = JSON.stringify(value)
          .replaceAll('"', "'")
          .replaceAll(/'(\w+)':/g, ' $1: ')
          .replaceAll(/([\w'])}/g, '$1 }')
          .replaceAll(', ', ', ')
          .replaceAll(',  ', ', ')
        expect([`${factory}.${name}`, rows.get(`${factory}.${name}`)?.replaceAll('_', '')]).toEqual([
          `${factory}.${name}`,
          shown,
        ])
      }
    }
  })
})
