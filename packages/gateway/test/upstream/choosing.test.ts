import { describe, expect, it } from 'vitest'
import { tenantHint } from '../../src/admission/affinity.ts'
import { parseAddressList } from '@quintet/core/http'
import { findOrigin } from '../../src/admission/forwarded.ts'
import { chooseByKey } from '../../src/upstream/rendezvous.ts'
import { createRetryBudget } from '../../src/exchange/retry-budget.ts'
import { createRouteTable } from '../../src/admission/route-table.ts'

describe('createRouteTable', () => {
  const routes = ['/', '/api/media/', '/api/', '/ws/'].map((path) => ({
    path,
    stripPrefix: path !== '/ws/',
    upstreamPath: '/',
  }))
  const table = createRouteTable(routes)

  it.each([
    ['/api/media/objects/1', '/api/media/', '/objects/1'],
    ['/api/media', '/api/media/', '/'],
    ['/api/mediaX/objects', '/api/', '/mediaX/objects'],
    ['/api', '/api/', '/'],
    ['/apix', '/', '/apix'],
    ['/ws/room', '/ws/', '/ws/room'],
    ['/', '/', '/'],
  ])('finds %s', (path, route, upstreamPath) => {
    expect(table.match(path)).toEqual({
      route: routes.find((candidate) => candidate.path === route),
      path: upstreamPath,
    })
  })

  it.each([
    ['/ws', '/ws/app', '/ws'],
    ['/ws', '/ws/app/', '/ws'],
    ['/ws', '/ws/app/x', '/ws/x'],
    ['/ws/', '/ws/app', '/ws/'],
    ['/ws/', '/ws/app/x', '/ws/x'],
    ['/', '/ws/app/x', '/x'],
    ['/ws', '/ws/app//x', '//x'],
  ])('puts %s in place of the path of the route: %s', (upstreamPath, path, asked) => {
    const mapped = createRouteTable([{ path: '/ws/app/', stripPrefix: true, upstreamPath }])
    expect(mapped.match(path)?.path).toBe(asked)
  })

  it('finds nothing where nothing is', () => {
    expect(
      createRouteTable([{ path: '/api/', stripPrefix: true, upstreamPath: '/' }]).match('/other'),
    ).toBeUndefined()
  })
})

describe('findOrigin', () => {
  const trusted = parseAddressList(['10.0.0.0/8', '::1'], 'trusted')
  const headers = {
    'x-forwarded-for': '6.6.6.6, 1.2.3.4, 10.0.0.9',
    'x-forwarded-proto': 'https',
    'x-forwarded-host': 'shop.example',
  }

  it('believes nothing that an untrusted peer says', () => {
    expect(findOrigin('::ffff:9.9.9.9', 'a', headers, trusted)).toEqual({
      address: '9.9.9.9',
      protocol: 'http',
      host: 'a',
      chain: '9.9.9.9',
      prefix: '',
    })
  })

  it('takes the last address that is not a trusted proxy for the client', () => {
    expect(findOrigin('10.1.1.1', 'a', headers, trusted)).toEqual({
      address: '1.2.3.4',
      protocol: 'https',
      host: 'shop.example',
      chain: '1.2.3.4, 10.0.0.9, 10.1.1.1',
      prefix: '',
    })
  })

  it('knows no client where that is no address', () => {
    expect(
      findOrigin(
        '::1',
        'a',
        { 'x-forwarded-for': '1.2.3.4, unknown, 10.0.0.9', 'x-forwarded-proto': 'ftp' },
        trusted,
      ),
    ).toEqual({
      address: 'unknown',
      protocol: 'http',
      host: 'a',
      chain: 'unknown, 10.0.0.9, ::1',
      prefix: '',
    })
  })
})

describe('chooseByKey', () => {
  const candidates = ['a', 'b', 'c', 'd'].map((id) => ({ id, weight: 1 }))
  const keys = Array.from({ length: 4_000 }, (_, index) => `tenant-${index}`)

  it('spreads keys evenly', () => {
    const counts = new Map<string, number>()
    for (const key of keys) {
      const id = chooseByKey(candidates, key)?.id ?? ''
      counts.set(id, (counts.get(id) ?? 0) + 1)
    }
    for (const { id } of candidates) expect(counts.get(id)).toBeGreaterThan(850)
  })

  it('moves only the keys of a candidate that goes', () => {
    const rest = candidates.filter(({ id }) => id !== 'b')
    const others = keys.filter((key) => chooseByKey(candidates, key)?.id !== 'b')
    expect(others.map((key) => chooseByKey(rest, key)?.id)).toEqual(
      others.map((key) => chooseByKey(candidates, key)?.id),
    )
  })

  it('gives keys in proportion to weight, and none to weight 0', () => {
    const weighted = [
      { id: 'a', weight: 3 },
      { id: 'b', weight: 1 },
      { id: 'c', weight: 0 },
    ]
    const chosen = keys.map((key) => chooseByKey(weighted, key)?.id)
    const share = chosen.filter((id) => id === 'a').length / keys.length
    expect(share).toBeGreaterThan(0.71)
    expect(share).toBeLessThan(0.79)
    expect(chosen).not.toContain('c')
  })
})

describe('createRetryBudget', () => {
  it('allows a reserve and then a share of requests', () => {
    const budget = createRetryBudget(0.2)
    let retries = 0
    while (budget.withdraw()) retries += 1
    expect(retries).toBe(10)
    for (let request = 0; request < 100; request++) {
      budget.deposit()
      if (budget.withdraw()) retries += 1
    }
    expect(retries - 10).toBeGreaterThanOrEqual(19)
    expect(retries - 10).toBeLessThanOrEqual(20)
  })

  it('allows none with a share of 0', () => {
    expect(createRetryBudget(0).withdraw()).toBe(false)
  })
})

describe('parseAddressList', () => {
  it('knows addresses and networks, also wrapped in IPv6', () => {
    const list = parseAddressList(['10.0.0.0/8', '192.168.1.7', 'fd00::/8'], 'x')
    expect(
      ['10.9.9.9', '::ffff:10.0.0.1', '192.168.1.7', 'fd12::1'].map((address) => list.has(address)),
    ).toEqual([true, true, true, true])
    expect(['11.0.0.1', '192.168.1.8', '::1', 'x', undefined].map((address) => list.has(address))).toEqual([
      false,
      false,
      false,
      false,
      false,
    ])
  })

  it.each(['10.0.0.0/33', 'example.org', '10.0.0.1/8/8', '10.0.0.1/x', ''])('refuses %j by name', (entry) => {
    expect(() => parseAddressList([entry], 'gateway.trustedProxies')).toThrow(
      `gateway.trustedProxies: ${JSON.stringify(entry)}`,
    )
  })
})

describe('tenantHint', () => {
  const token = `e30.${Buffer.from('{"tid":"acme"}').toString('base64url')}.c2ln`
  const hint = (headers: Record<string, string>): string | undefined => tenantHint({ headers } as never)

  it('reads the claim from the header or a subprotocol, and nothing from what is no token', () => {
    expect(hint({ authorization: `Bearer ${token}` })).toBe('acme')
    expect(hint({ 'sec-websocket-protocol': `quintet.rpc.v1, bearer.${token}` })).toBe('acme')
    for (const value of ['Bearer x', 'Bearer a.!.c', 'Bearer e30.bm9uZQ.c', 'Basic abc', ''])
      expect(hint({ authorization: value })).toBeUndefined()
    expect(hint({})).toBeUndefined()
  })
})
