import { describe, expect, it } from 'vitest'
import { checkServer, findProblems, parseServerFacts } from '../../src/clients/boot-check.ts'

const info = (...lines: string[]): string => ['# Server', ...lines, ''].join('\r\n')

describe('boot check', () => {
  it('reads product, version and policy from INFO', () => {
    expect(parseServerFacts(info('redis_version:8.2.1', 'maxmemory_policy:noeviction'))).toEqual({
      product: 'Redis',
      version: '8.2.1',
      policy: 'noeviction',
    })
    expect(parseServerFacts(info('redis_version:7.2.4', 'valkey_version:8.1.0'))).toMatchObject({
      product: 'Valkey',
      version: '7.2.4',
    })
  })

  it('names a server that is too old, and each client whose keys could go', () => {
    const good = { product: 'Redis', version: '7.0.15', policy: 'noeviction' } as const
    expect(findProblems(good, ['sessions'])).toEqual([])
    expect(findProblems({ ...good, version: '10.0.0' }, [])).toEqual([])
    expect(findProblems({ ...good, policy: 'allkeys-lru' }, [])).toEqual([])
    expect(findProblems({ ...good, version: '6.2.14' }, [])).toEqual([
      'Redis 6.2.14 is older than 7.0.0, the oldest that is supported.',
    ])
    expect(findProblems({ ...good, policy: 'volatile-ttl' }, ['sessions', 'locks']).join()).toMatch(
      /maxmemory-policy is volatile-ttl, so keys of sessions, locks can be evicted/,
    )
  })

  it('takes a forbidden INFO for a problem, and an absent answer for none', async () => {
    const denied = {
      info: () => Promise.reject(new Error('NOPERM this user has no permissions to run info')),
    }
    expect(await checkServer(denied, [])).toEqual([expect.stringMatching(/INFO failed \(NOPERM/)])
    const away = { info: () => Promise.reject(new Error('Command timed out')) }
    await expect(checkServer(away, [])).rejects.toThrow('Command timed out')
  })
})
