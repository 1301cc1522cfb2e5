import { describe, expect, expectTypeOf, it } from 'vitest'
import { route } from '@quintet/core'
import { z } from 'zod'
import { serve } from '../support/serve.ts'

const Item = z.object({ name: z.string() })

const put = route({
  method: 'PUT',
  pattern: '/items/:id',
  access: 'public',
  params: z.object({ id: z.coerce.number().int() }),
  query: z.object({ limit: z.coerce.number().default(5), tag: z.array(z.string()).optional() }),
  headers: z.object({ 'x-mark': z.string() }),
  body: Item,
  maxRequestSize: 64,
  response: z.object({ id: z.number(), at: z.date().transform((at) => at.getTime()) }).loose(),
  handler: async (request, { params, query, headers, body }) => {
    expectTypeOf(params).toEqualTypeOf<{ id: number }>()
    expectTypeOf(query).toEqualTypeOf<{ limit: number; tag?: string[] | undefined }>()
    expectTypeOf(headers).toEqualTypeOf<{ 'x-mark': string }>()
    expectTypeOf(body).toEqualTypeOf<{ name: string }>()
    return { id: params.id, at: new Date(7), query, headers, body, again: (await request.json()) as unknown }
  },
})
const wrong = route({
  method: 'GET',
  pattern: '/wrong',
  access: 'public',
  response: z.object({ id: z.number() }),
  handler: () => ({ id: 'x' as unknown as number }),
})
const own = route({
  method: 'GET',
  pattern: '/own',
  access: 'public',
  response: z.object({ status: z.number(), headers: z.object({}), body: z.string() }),
  handler: (request) =>
    new URL(request.url).searchParams.has('response')
      ? new Response('mine', { status: 201 })
      : { status: 1, headers: {}, body: 'x' },
})
const notMine = route({
  method: 'POST',
  pattern: '/twice',
  access: 'public',
  body: Item,
  handler: () => null,
})
const mine = route({
  method: 'POST',
  pattern: '/twice',
  access: 'public',
  body: Item.extend({ more: z.string() }),
  response: z.string(),
  handler: (_request, { body }) => body.more,
})
const secret = route({
  method: 'POST',
  pattern: '/secret',
  access: 'authenticated',
  body: Item,
  handler: () => new Response('x'),
})
const routes = [put, wrong, own, notMine, mine, secret]

const send = (url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(url, {
    method: 'PUT',
    headers: { 'content-type': 'application/json', 'x-mark': 'm', ...headers },
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })

describe('a route with schemas', () => {
  it('gets what the schemas make of its parameters, query, headers and body', async () => {
    await using app = await serve({}, { routes })
    const answer = await send(`${app.url}/items/7?tag=a&tag=b`, { name: 'n', other: 1 })
    expect([answer.status, await answer.json()]).toEqual([
      200,
      {
        id: 7,
        at: 7,
        query: { limit: 5, tag: ['a', 'b'] },
        headers: { 'x-mark': 'm' },
        body: { name: 'n' },
        again: { name: 'n', other: 1 },
      },
    ])
  })

  it('sends the value that it returns as its schema makes it, and fails for one that the schema refuses', async () => {
    await using app = await serve({}, { routes })
    expect(await (await fetch(`${app.url}/own`)).json()).toEqual({ status: 1, headers: {}, body: 'x' })
    const plain = await fetch(`${app.url}/own?response`)
    expect([plain.status, await plain.text()]).toEqual([201, 'mine'])
    const bad = await fetch(`${app.url}/wrong`)
    expect(bad.status).toBe(500)
    expect(await bad.json()).toMatchObject({ code: 'ERR_CORE_INTERNAL' })
  })

  it.each([
    ['a parameter', '/items/x', { name: 'n' }, {}, '/params/id'],
    ['the query', '/items/1?limit=x', { name: 'n' }, {}, '/query/limit'],
    ['a parameter given once too often', '/items/1?limit=1&limit=2', { name: 'n' }, {}, '/query/limit'],
    ['the body', '/items/1', { name: 1 }, {}, '/body/name'],
    ['an empty body', '/items/1', '', {}, '/body'],
  ])('refuses %s with 400 and its place', async (_what, path, body, headers, pointer) => {
    await using app = await serve({}, { routes })
    const answer = await send(`${app.url}${path}`, body, headers)
    expect(answer.status).toBe(400)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect(await answer.json()).toMatchObject({
      code: 'ERR_CORE_INVALID_INPUT',
      details: { issues: [{ pointer }] },
    })
  })

  it('refuses a header with its place', async () => {
    await using app = await serve({}, { routes })
    const answer = await fetch(`${app.url}/items/1`, { method: 'PUT' })
    expect(await answer.json()).toMatchObject({ details: { issues: [{ pointer: '/headers/x-mark' }] } })
  })

  it('holds its body to its limit, its type and strict JSON', async () => {
    await using app = await serve({}, { routes })
    const url = `${app.url}/items/1`
    expect((await send(url, { name: 'x'.repeat(64) })).status).toBe(413)
    expect((await send(url, { name: 'x' }, { 'content-type': 'text/plain' })).status).toBe(415)
    expect(await (await send(url, '{"name":"a","name":"b"}')).json()).toMatchObject({
      code: 'ERR_SERVER_BODY_INVALID',
    })
  })

  it('reads a body once, though the first route that matches leaves it to the next', async () => {
    await using app = await serve({}, { routes })
    expect(await (await app.post('/twice', { name: 'n', more: 'm' })).json()).toBe('m')
  })

  it('reads nothing for a caller who may not call', async () => {
    await using app = await serve({}, { routes })
    expect((await app.post('/secret', { name: 1 })).status).toBe(401)
  })

  it('has no body when its method has none', () => {
    expect(() =>
      route({ method: 'GET', pattern: '/x', access: 'public', body: Item, handler: () => null }),
    ).toThrow(/body: a GET request has no body/)
  })
})
