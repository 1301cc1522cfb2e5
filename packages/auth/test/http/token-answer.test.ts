import { describe, expect, it } from 'vitest'
import { tokenAnswer, tokenResponse } from '../../src/index.ts'

describe('tokenAnswer', () => {
  it('is stored by no cache', () => {
    expect(tokenAnswer({ expiresIn: 300 })).toEqual({
      body: '{"expiresIn":300}',
      headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
    })
  })
})

describe('tokenResponse', () => {
  it('sets each cookie in a line of its own', async () => {
    const response = tokenResponse({ expiresIn: 300 }, ['a=1; Path=/', 'b=2; Path=/'])
    expect(response.headers.get('cache-control')).toBe('no-store')
    expect(response.headers.getSetCookie()).toEqual(['a=1; Path=/', 'b=2; Path=/'])
    expect(await response.json()).toEqual({ expiresIn: 300 })
  })
})
