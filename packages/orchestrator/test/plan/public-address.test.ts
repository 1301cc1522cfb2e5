import { describe, expect, it } from 'vitest'
import type { Plan } from '../../src/plan/plan.ts'
import { publicVariables, readPublicOrigin } from '../../src/plan/public-address.ts'

const path = 'infrastructure.services.gateway.config.publicOrigin'

const planWith = (publicOrigin: string | null): Plan =>
  ({
    gateway: {
      processId: 'gateway/http',
      publicOrigin,
      config: {},
      routes: [{ name: 'auth', path: '/api/auth/', websocket: false, upstreams: [] }],
    },
  }) as unknown as Plan

describe('public address', () => {
  it('is that of the gateway on this machine, unless the ecosystem file names its origin', () => {
    const portOf = (id: string): number => (id === 'gateway/http' ? 8080 : 0)
    expect(publicVariables(planWith(null), 'auth', portOf)).toEqual({
      QUINTET_PUBLIC_ORIGIN: 'http://127.0.0.1:8080',
      QUINTET_PUBLIC_URL: 'http://127.0.0.1:8080/api/auth',
    })
    expect(publicVariables(planWith('https://shop.example'), 'auth', portOf)).toEqual({
      QUINTET_PUBLIC_ORIGIN: 'https://shop.example',
      QUINTET_PUBLIC_URL: 'https://shop.example/api/auth',
    })
  })

  it('has no URL for an app that the gateway does not lead to, and nothing without a gateway', () => {
    expect(publicVariables(planWith('https://shop.example'), 'mailer', () => 0)).toEqual({
      QUINTET_PUBLIC_ORIGIN: 'https://shop.example',
    })
    expect(publicVariables({ gateway: null } as unknown as Plan, 'auth', () => 0)).toEqual({})
  })

  it.each([
    'shop.example',
    'https://shop.example/',
    'https://shop.example/api',
    'ftp://shop.example',
    'https://a@b.example',
    8080,
  ])('refuses %j as an origin', (value) => {
    expect(() => readPublicOrigin(value, path)).toThrow(
      /^infrastructure\.services\.gateway\.config\.publicOrigin: .* is no origin\./,
    )
  })

  it.each(['https://shop.example', 'http://127.0.0.1:8080', 'https://[::1]:8443'])('takes %s', (value) => {
    expect(readPublicOrigin(value, path)).toBe(value)
  })
})
