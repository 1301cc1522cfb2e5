import { request as httpRequest } from 'node:http'
import { describe, expect, it } from 'vitest'
import { procedure, route, service } from '@quintet/core'
import type { SettledCall } from '@quintet/core/kit'
import { z } from 'zod'
import { until } from '../support/raw.ts'
import { serve, type Served } from '../support/serve.ts'

const odd = service('odd', {
  ok: procedure({ access: 'public', input: z.object({ a: z.number() }).optional() }, () => 1),
  nothing: procedure({ access: 'public' }, () => {}),
  fails: procedure({ access: 'public' }, (): void => {
    throw new Error('x')
  }),
})
const answers = route({
  method: 'GET',
  pattern: '/answers/:status',
  access: 'public',
  handler: (_request, { params }) => new Response(null, { status: Number(params['status']) }),
})

async function settledBy(act: (app: Served) => Promise<unknown>): Promise<Partial<SettledCall>> {
  const settled: SettledCall[] = []
  await using app = await serve({}, { services: [odd], routes: [answers] })
  app.host.pipeline.addObserver({ onSettled: (call) => void settled.push(call) })
  await act(app)
  await until(() => settled.length === 1)
  return settled[0] ?? {}
}

describe('the outcome of a request', () => {
  it.each([
    [200, 'ok'],
    [404, 'ok'],
    [500, 'internal'],
    [503, 'unavailable'],
    [504, 'timeout'],
  ])('of a route that answers with %i is %s', async (status, outcome) => {
    const call = await settledBy((app) => fetch(`${app.url}/answers/${String(status)}`))
    expect(call).toMatchObject({ operation: { name: 'GET /answers/:status' }, status, outcome })
  })

  it.each([
    ['a call', '/rpc/odd/ok', undefined, { operation: { name: 'odd.ok' }, status: 200, outcome: 'ok' }],
    ['a call without a result', '/rpc/odd/nothing', undefined, { status: 204, outcome: 'ok' }],
    ['a handler that fails', '/rpc/odd/fails', undefined, { status: 500, outcome: 'internal' }],
    ['no JSON', '/rpc/odd/ok', '{', { status: 400, outcome: 'invalid-input' }],
    [
      'an unknown path',
      '/x',
      undefined,
      { operation: { name: 'unknown route' }, status: 404, outcome: 'not-found' },
    ],
    ['a wrong method', '/answers/1', undefined, { operation: { name: 'unknown route' }, status: 405 }],
    [
      'an unknown procedure',
      '/rpc/odd/x',
      undefined,
      { operation: { name: 'unknown procedure' }, status: 404 },
    ],
    [
      'an unknown one in a batch',
      '/rpc',
      [{ id: 1, method: 'a.b' }],
      { operation: { name: 'unknown procedure' } },
    ],
  ])('of %s is told to observers with its status', async (_what, path, body, expected) => {
    expect(await settledBy((app) => app.post(path, body))).toMatchObject(expected)
  })

  it('of an upload that its client breaks off is no error of ours', async () => {
    let begun = false
    const upload = route({
      method: 'POST',
      pattern: '/upload',
      access: 'public',
      handler: async (request) => {
        begun = true
        return new Response(await request.text())
      },
    })
    const settled: SettledCall[] = []
    await using app = await serve({}, { routes: [upload] })
    app.host.pipeline.addObserver({ onSettled: (call) => void settled.push(call) })
    const sent = httpRequest(`${app.url}/upload`, { method: 'POST' })
    sent.on('error', () => {})
    sent.write('x')
    await until(() => begun)
    sent.destroy()
    await until(() => settled.length === 1)
    expect(settled[0]).toMatchObject({ outcome: 'canceled', status: 499 })
  })

  it('tells a media type that is not taken as 415', async () => {
    const call = await settledBy((app) => app.post('/rpc/odd/ok', '{}', { 'content-type': 'text/plain' }))
    expect(call).toMatchObject({ status: 415, outcome: 'unsupported' })
  })
})
