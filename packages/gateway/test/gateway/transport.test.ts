import { describe, expect, it } from 'vitest'
import { gatewayTransport } from '../../src/index.ts'

const routes = [{ name: 'app', path: '/api/app/', upstreams: ['http://127.0.0.1:1'] }]

describe('gatewayTransport', () => {
  it('reads its options where it is defined, not when its process starts', () => {
    expect(() => gatewayTransport({ routes, timeouts: { idle: 'soon' } } as never)).toThrow(
      /gateway.timeouts.idle/,
    )
    expect(() => gatewayTransport({ routes, prot: 8080 } as never)).toThrow(/prot/)
    expect(() => gatewayTransport({ routes: [] })).toThrow(/routes/)
  })

  it('says where it will listen', () => {
    expect(gatewayTransport({ routes })).toMatchObject({ name: 'gateway', port: 8080, address: '127.0.0.1' })
    expect(gatewayTransport({ routes, name: 'front', port: 1_234 })).toMatchObject({
      name: 'front',
      port: 1_234,
    })
    expect(gatewayTransport({ routes, fd: 3 })).not.toHaveProperty('port')
  })
})
