import { describe, expect, it } from 'vitest'
import { procedure, route, service } from '@quintet/core'
import type { Credentials } from '@quintet/core/kit'
import { createTestHost } from '@quintet/core/testing'
import { WebSocket } from 'ws'
import { http, websocket } from '../../src/index.ts'
import { serve } from '../support/serve.ts'

const who = service('who', {
  calls: procedure({ access: 'public' }, ({ client }) => ({ ...client })),
})
const asks = route({
  method: 'GET',
  pattern: '/who',
  access: 'public',
  handler: (_request, { client }) => Response.json(client),
})
const headers = { 'user-agent': 'test/1', 'x-forwarded-for': '2001:DB8:0:0::7, 10.0.0.1' }

describe('the client of a call', () => {
  it.each([
    ['the peer where nobody is trusted', [], '127.0.0.1'],
    ['the nearest hop that is no trusted proxy', ['127.0.0.1'], '10.0.0.1'],
    ['the first hop behind trusted proxies, in canonical form', ['127.0.0.0/8', '10.0.0.0/8'], '2001:db8::7'],
  ])('is %s', async (_what, trustedProxies, address) => {
    await using app = await serve({ trustedProxies }, { services: [who], routes: [asks] })
    const expected = { address, userAgent: 'test/1' }
    expect(await (await fetch(`${app.url}/who`, { headers })).json()).toEqual(expected)
    expect(await (await app.post('/rpc/who/calls', undefined, headers)).json()).toEqual(expected)
    const batch = await app.post('/rpc', [{ id: 1, method: 'who.calls' }], headers)
    expect(await batch.json()).toEqual([{ id: 1, output: expected }])
  })

  it.each([
    [[], '127.0.0.1'],
    [['127.0.0.1'], '10.0.0.1'],
  ])('is known of a WebSocket too, with trusted proxies %j', async (trustedProxies, address) => {
    await using host = createTestHost({ services: [who] })
    const running = await websocket({ access: 'public', trustedProxies }).start(host)
    const socket = new WebSocket(running.url ?? '', 'quintet.rpc.v1', { headers })
    const answer = await new Promise<string>((resolve) => {
      socket.on('open', () => socket.send('{"type":"call","id":1,"method":"who.calls"}'))
      socket.on('message', (data: Buffer) => resolve(data.toString()))
    })
    expect(JSON.parse(answer)).toMatchObject({ output: { address, userAgent: 'test/1' } })
    await running.close()
  })
})

describe('the URL that a DPoP proof is for', () => {
  const declared = 'https://api.example'
  it.each([
    [
      'holds the prefix that a trusted proxy has stripped',
      { trustedProxies: ['127.0.0.1'] },
      'https://app.example/api/media/who',
    ],
    ['holds nothing that others say', {}, 'http://{host}/who'],
    [
      'has the origin that is declared, whatever the client or a proxy says',
      { trustedProxies: ['127.0.0.1'], origin: declared },
      'https://api.example/api/media/who',
    ],
  ])('%s', async (_what, options, expected) => {
    await using app = await serve(options, { routes: [{ ...asks, access: 'authenticated' }] })
    const seen: Credentials[] = []
    const { authenticate } = app.host.auth
    app.host.auth.authenticate = (credentials, ...rest) => {
      seen.push(credentials)
      return authenticate.call(app.host.auth, credentials, ...rest)
    }
    await fetch(`${app.url}/who`, {
      headers: {
        authorization: 'DPoP token',
        dpop: 'a.b.c',
        'x-forwarded-proto': 'https',
        'x-forwarded-host': 'app.example',
        'x-forwarded-prefix': '/api/media',
      },
    })
    expect(seen).toMatchObject([{ url: expected.replace('{host}', new URL(app.url).host) }])
  })

  it.each(['api.example', 'https://api.example/', 'https://user@api.example', 'ftp://api.example'])(
    'has no origin such as %s',
    (origin) => {
      expect(() => http({ origin })).toThrow('http.origin')
    },
  )
})
