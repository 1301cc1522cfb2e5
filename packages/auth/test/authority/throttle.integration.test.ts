import type { Redis } from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createRateLimiter } from '@quintet/redis'
import { startPrivateRedis, until } from '@quintet/test-kit'
import { createTestAuth } from '../../src/testing.ts'
import { codeOf } from '../support/code-of.ts'
import { connect } from '../support/redis.ts'

let redis: Redis
beforeAll(() => {
  redis = connect()
})
afterAll(() => redis.disconnect())

const attempt = { account: 'alice@example.com', address: '10.0.0.1' }

describe('throttling with the rate limiter of @quintet/redis', () => {
  it('lets as many attempts through as it is told', async () => {
    const limiter = createRateLimiter({ client: redis, prefix: `throttle-${process.pid}:`, timeout: '5s' })
    const perAccount = { limit: 2, period: '1m' } as const
    await using auth = await createTestAuth({ redis, authority: { throttle: { limiter, perAccount } } })
    await auth.authority.admitSignIn(attempt)
    await auth.authority.admitSignIn(attempt)
    expect(await codeOf(auth.authority.admitSignIn(attempt))).toBe('ERR_AUTH_THROTTLED')
  })

  const kit = (name: string) => {
    const limiter = createRateLimiter({ client: redis, prefix: `${name}-${process.pid}:`, timeout: '5s' })
    return createTestAuth({ redis, authority: { throttle: { limiter } } })
  }
  const times = async (count: number, attempt: () => Promise<unknown>): Promise<string[]> => {
    const codes: string[] = []
    for (let each = 0; each < count; each++) codes.push(await codeOf(attempt()))
    return [...new Set(codes)]
  }

  it('does not let strangers lock out the owner of an account', async () => {
    await using auth = await kit('strangers')
    const { authority } = auth
    const owner = { account: 'alice', address: '203.0.113.7' }
    const deviceToken = await (await authority.admitSignIn(owner)).succeeded()
    // From one address: the owner's is another.
    const stranger = { account: 'alice', address: '198.51.100.1' }
    expect(await times(12, () => authority.admitSignIn(stranger))).toEqual(['resolved', 'ERR_AUTH_THROTTLED'])
    expect(await times(1, () => authority.admitSignIn(owner))).toEqual(['resolved'])
    // From so many that the account is closed to unknown devices: the owner's is known.
    for (let host = 0; host < 100; host++)
      await codeOf(authority.admitSignIn({ account: 'alice', address: `198.51.100.${host}` }))
    expect(await times(1, () => authority.admitSignIn(owner))).toEqual(['ERR_AUTH_THROTTLED'])
    expect(await times(10, () => authority.admitSignIn({ ...owner, deviceToken }))).toEqual(['resolved'])
    // A known device guesses no more than any other, for no other account, and not with a token of its own making.
    expect(await times(1, () => authority.admitSignIn({ ...owner, deviceToken }))).toEqual([
      'ERR_AUTH_THROTTLED',
    ])
    for (const forged of [`${deviceToken.slice(0, -2)}AA`, 'x', `${deviceToken}.`])
      expect(await times(1, () => authority.admitSignIn({ ...owner, deviceToken: forged }))).toEqual([
        'ERR_AUTH_THROTTLED',
      ])
  })

  it('counts no attempt of an address that was right, so that many behind one sign in', async () => {
    await using auth = await kit('office')
    const { authority } = auth
    const address = '203.0.113.99'
    const right = async (user: number): Promise<void> => {
      await (await authority.admitSignIn({ account: `user-${user}`, address })).succeeded()
    }
    for (let user = 0; user < 120; user++) await right(user)
    for (let user = 0; user < 100; user++) await authority.admitSignIn({ account: `wrong-${user}`, address })
    expect(await codeOf(right(1))).toBe('ERR_AUTH_THROTTLED')
  })

  it('gives the account its attempts from here again after a success, and the address that one', async () => {
    await using auth = await kit('success')
    const { authority } = auth
    const attempt = { account: 'bob', address: '203.0.113.8' }
    for (let round = 0; round < 9; round++) {
      expect(await times(9, () => authority.admitSignIn(attempt))).toEqual(['resolved'])
      await (await authority.admitSignIn(attempt)).succeeded()
    }
    expect(await times(20, () => authority.admitSignIn(attempt))).toContain('ERR_AUTH_THROTTLED')
    expect(await times(20, () => authority.admitSignIn({ ...attempt, account: 'carol' }))).toContain(
      'ERR_AUTH_THROTTLED',
    )
  })

  it('does not charge an account for an address that has used up its attempts', async () => {
    await using auth = await kit('spent')
    const { authority } = auth
    for (let user = 0; user < 100; user++)
      await authority.admitSignIn({ account: `user-${user}`, address: '203.0.113.9' })
    expect(
      await times(150, () => authority.admitSignIn({ account: 'dave', address: '203.0.113.9' })),
    ).toEqual(['ERR_AUTH_THROTTLED'])
    expect(
      await times(10, () => authority.admitSignIn({ account: 'dave', address: '203.0.113.10' })),
    ).toEqual(['resolved'])
  })

  it.each([
    [
      'spellings of an IPv6 network',
      ['2001:db8:1:2::1', '2001:DB8:1:2:ffff::9', '2001:0db8:0001:0002:0:0:0:3%eth0'],
    ],
    [
      'spellings of an IPv4 address',
      ['192.0.2.1', '::ffff:192.0.2.1', '::ffff:c000:201', '0:0:0:0:0:ffff:c000:0201'],
    ],
  ])('counts %s as one', async (what, addresses) => {
    await using auth = await kit(what.slice(-12))
    const codes: string[] = []
    for (let each = 0; each < 12; each++) {
      const address = addresses[each % addresses.length] as string
      codes.push(await codeOf(auth.authority.admitSignIn({ account: 'erin', address })))
    }
    expect(codes).toEqual([...Array(10).fill('resolved'), ...Array(2).fill('ERR_AUTH_THROTTLED')])
    await expect(auth.authority.admitSignIn({ account: 'erin', address: 'host' })).rejects.toThrow(
      'no IP address',
    )
  })

  it('knows a device after a sign-in during which its Redis froze, in bounded time', async () => {
    await using server = await startPrivateRedis()
    const away = connect(server.url)
    const limiter = createRateLimiter({ client: away, timeout: '1s', retryInterval: 50 })
    await using auth = await createTestAuth({ redis, authority: { throttle: { limiter } } })
    const admitted = await auth.authority.admitSignIn(attempt)
    server.freeze()
    const started = performance.now()
    const deviceToken = await admitted.succeeded()
    expect(performance.now() - started).toBeLessThan(2_000)
    server.thaw()
    await until(
      async () => (await codeOf(auth.authority.admitSignIn({ ...attempt, deviceToken }))) === 'resolved',
    )
    away.disconnect()
  })

  it.each(['frozen', 'stopped'] as const)(
    'while its Redis is %s lets nobody sign in, counts refreshes in the process, and recovers',
    async (how) => {
      await using server = await startPrivateRedis()
      const away = connect(server.url)
      // Its own default is to count in the process; sign-ins are refused all the same.
      const limiter = createRateLimiter({ client: away, onUnavailable: 'local', retryInterval: 50 })
      const perSession = { limit: 2, period: '1h' } as const
      await using auth = await createTestAuth({ redis, authority: { throttle: { limiter, perSession } } })
      await until(async () => (await codeOf(auth.authority.admitSignIn(attempt))) === 'resolved')
      let tokens = await auth.signIn()
      if (how === 'frozen') server.freeze()
      else await server.kill()
      const started = performance.now()
      for (let count = 0; count < 3; count++) {
        expect(await codeOf(auth.authority.admitSignIn(attempt))).toBe('ERR_AUTH_UNAVAILABLE')
      }
      for (let count = 0; count < 2; count++) tokens = await auth.authority.refresh(tokens.refreshToken)
      expect(await codeOf(auth.authority.refresh(tokens.refreshToken))).toBe('ERR_AUTH_THROTTLED')
      expect(performance.now() - started).toBeLessThan(3_000)
      if (how === 'frozen') server.thaw()
      else await server.restart()
      await until(async () => (await codeOf(auth.authority.admitSignIn(attempt))) === 'resolved')
      away.disconnect()
    },
  )
})
