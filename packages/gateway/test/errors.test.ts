import { describe, expect, it } from 'vitest'
import { fromUpstreamError } from '../src/errors.ts'

describe('fromUpstreamError', () => {
  it.each(['EMFILE', 'ENFILE', 'EADDRNOTAVAIL', 'ENOBUFS'])(
    'does not blame the upstream for %s, which is a shortage of this machine',
    (code) => {
      const error = fromUpstreamError(Object.assign(new Error('connect failed'), { code }))
      expect(error).toMatchObject({ code: 'ERR_GATEWAY_OVERLOADED', retryAfter: 1_000 })
    },
  )

  it('is a broken upstream for anything unknown', () => {
    expect(fromUpstreamError(new Error('other side closed')).code).toBe('ERR_GATEWAY_UPSTREAM_FAILED')
  })
})
