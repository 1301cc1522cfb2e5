import { describe, expect, it } from 'vitest'
import { route } from '@quintet/core'
import { chooseCoding } from '../../src/request/content-coding.ts'
import { serve } from '../support/serve.ts'

describe('the coding of an answer', () => {
  it.each([
    ['gzip, br', 'br'],
    ['br;q=0.5, gzip', 'gzip'],
    ['br;q=0.5, gzip;q=0.5', 'br'],
    ['br;q=0, gzip;q=0.1', 'gzip'],
    ['*', 'br'],
    ['*;q=0.5, br;q=0', 'gzip'],
    ['gzip;q=0.5, identity;q=0.9', undefined],
    ['identity, gzip', 'gzip'],
    ['gzip;q=0', undefined],
    ['deflate', undefined],
    ['gzip;q=nonsense', undefined],
    ['', undefined],
  ])('is for %j the one that the client likes best', (accept, coding) => {
    expect(chooseCoding(accept)).toBe(coding)
  })

  it('makes the entity tag of a compressed answer a weak one', async () => {
    const page = route({
      method: 'GET',
      pattern: '/page',
      access: 'public',
      handler: () =>
        new Response('long '.repeat(4_000), { headers: { etag: '"v1"', 'content-type': 'text/plain' } }),
    })
    await using app = await serve({}, { routes: [page] })
    const tagWith = async (coding: string): Promise<string | null> =>
      (await fetch(`${app.url}/page`, { headers: { 'accept-encoding': coding } })).headers.get('etag')
    expect([await tagWith('br'), await tagWith('gzip'), await tagWith('identity')]).toEqual([
      'W/"v1"',
      'W/"v1"',
      '"v1"',
    ])
  })
})
