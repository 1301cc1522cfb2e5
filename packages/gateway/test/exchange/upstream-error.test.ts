import { describe, expect, it } from 'vitest'
import { fromUpstreamError } from '../../src/exchange/upstream-error.ts'

describe('fromUpstreamError', () => {
  it.each(['EMFILE', 'ENFILE', 'EADDRNOTAVAIL', 'ENOBUFS'])(
    'does not blame the upstream for %s, which is a shortage of this machine',
    (code) => {
      const error = fromUpstreamError(Object.assign(new Error('connect failed'), { code }), 'connecting')
      expect(error).toMatchObject({ code: 'ERR_GATEWAY_OVERLOADED', retryAfter: 1_000 })
    },
  )

  it.each(['ECONNREFUSED', 'ECONNRESET', 'EHOSTDOWN', 'DEPTH_ZERO_SELF_SIGNED_CERT'])(
    'is an upstream that cannot be reached for %s before the connection stood',
    (code) => {
      const error = fromUpstreamError(Object.assign(new Error('connect failed'), { code }), 'connecting')
      expect(error.code).toBe('ERR_GATEWAY_UPSTREAM_UNREACHABLE')
    },
  )

  it('is a broken upstream for anything unknown', () => {
    expect(fromUpstreamError(new Error('other side closed'), 'asked').code).toBe(
      'ERR_GATEWAY_UPSTREAM_FAILED',
    )
  })
})
