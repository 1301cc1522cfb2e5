import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { redisUrl } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import { RedisError } from '../src/index.ts'
import type { RedisErrorCode } from '../src/index.ts'
import * as api from '../src/index.ts'
import { plainClient } from './support/servers.ts'

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

  it('shows the example that is run here', async () => {
    const example = new URL('examples/clients-and-limits.ts', root)
    expect(readme).toContain((await readFile(example, 'utf8')).trim())
    await using limits = plainClient(redisUrl(), 3)
    await limits.del('example:rl:user-7')
    const { stdout } = await promisify(execFile)(process.execPath, [example.pathname], {
      env: { ...process.env, REDIS_URL: redisUrl() },
    })
    expect(stdout).toMatch(
      /^true \{\s+'ratelimit-policy': '"user";q=10;w=60',\s+ratelimit: '"user";r=\d;t=\d+'\s+\}\nreport true\nhello hello\n$/,
    )
  })
})
