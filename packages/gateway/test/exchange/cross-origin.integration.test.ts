import { describe, expect, it } from 'vitest'
import { resolveGatewayOptions } from '../../src/options/gateway-options.ts'
import { appRoute, startGateway } from '../support/gateway.ts'
import { startUpstream } from '../support/upstream.ts'

const nowhere = 'http://127.0.0.1:1'
const page = 'https://app.example'

describe('a page of another origin', () => {
  it('may read what the gateway answers itself, and sees its refusal behind a preflight', async () => {
    await using gateway = await startGateway({
      routes: [appRoute([nowhere])],
      cors: { origins: [page], credentials: true },
    })
    const refused = await fetch(`${gateway.url}/api/app/`, { headers: { origin: page } })
    expect(refused.status).toBe(502)
    expect(Object.fromEntries(refused.headers)).toMatchObject({
      'access-control-allow-origin': page,
      'access-control-allow-credentials': 'true',
      'access-control-expose-headers': 'retry-after, x-request-id',
      vary: 'Origin',
    })
    const preflight = await fetch(`${gateway.url}/api/app/`, {
      method: 'OPTIONS',
      headers: {
        origin: page,
        'access-control-request-method': 'PUT',
        'access-control-request-headers': 'authorization',
      },
    })
    expect(preflight.status).toBe(204)
    expect(Object.fromEntries(preflight.headers)).toMatchObject({
      'access-control-allow-origin': page,
      'access-control-allow-methods': 'PUT',
      'access-control-allow-headers': 'authorization',
    })
  })

  it('gets nothing where its origin is not listed, or no origin is', async () => {
    await using listed = await startGateway({ routes: [appRoute([nowhere])], cors: { origins: [page] } })
    await using none = await startGateway({ routes: [appRoute([nowhere])] })
    for (const { url } of [listed, none]) {
      const headers = { origin: 'https://evil.example', 'access-control-request-method': 'PUT' }
      for (const method of ['GET', 'OPTIONS']) {
        const answer = await fetch(`${url}/api/app/`, { method, headers })
        expect(answer.status).toBe(502)
        expect(answer.headers.get('access-control-allow-origin')).toBe(null)
      }
    }
  })

  it('may be of any origin, then without cookies', async () => {
    await using gateway = await startGateway({ routes: [appRoute([nowhere])], cors: { origins: '*' } })
    const { headers } = await fetch(`${gateway.url}/api/app/`, { headers: { origin: page } })
    expect(headers.get('access-control-allow-origin')).toBe('*')
    expect(headers.get('access-control-allow-credentials')).toBe(null)
  })

  it('gets the answers of upstreams as they are', async () => {
    await using upstream = await startUpstream()
    await using gateway = await startGateway({ routes: [appRoute([upstream.url])], cors: { origins: '*' } })
    const answer = await fetch(`${gateway.url}/api/app/`, { headers: { origin: page } })
    expect(answer.headers.get('access-control-allow-origin')).toBe(null)
  })

  it.each([
    [{ origins: '*', credentials: true }, 'List the origins'],
    [{ origins: ['app.example'] }, 'is not an origin'],
    [{ origins: ['https://app.example/path'] }, 'is not an origin'],
    [{ origins: 'https://app.example' }, 'must be a list'],
    [{ origins: [], credential: true }, 'credential'],
  ])('is configured without contradictions: %j', (cors, message) => {
    expect(() => resolveGatewayOptions({ routes: [appRoute([nowhere])], cors: cors as never })).toThrow(
      message,
    )
  })
})
