import { describe, expect, it } from 'vitest'
import { procedure, service } from '@quintet/core'
import { z } from 'zod'
import { serve, type Served } from '../support/serve.ts'

let written = 0
const stock = service('stock', {
  find: procedure(
    { access: 'public', safe: true, input: z.object({ name: z.string() }), maxInputSize: 64 },
    ({ input }) => ({ found: input.name }),
  ),
  nothing: procedure({ access: 'public', safe: true }, () => {}),
  mine: procedure({ access: 'authenticated', safe: true }, ({ principal }) => principal.userId),
  watch: procedure(
    {
      access: 'public',
      safe: true,
      input: z.object({ to: z.number() }),
      stream: z.object({ id: z.number() }),
      resumable: true,
    },
    async function* ({ input, lastEventId }) {
      for (let id = Number(lastEventId ?? 0) + 1; id <= input.to; id++) yield { id }
    },
  ),
  write: procedure({ access: 'public' }, () => ++written),
  feed: procedure({ access: 'public', stream: z.number() }, async function* () {
    yield ++written
  }),
})

const get = (
  app: Served,
  path: string,
  input?: unknown,
  headers: Record<string, string> = {},
): Promise<Response> =>
  fetch(
    `${app.url}/rpc/stock/${path}${input === undefined ? '' : `?input=${encodeURIComponent(JSON.stringify(input))}`}`,
    { headers },
  )

const services = [stock]

describe('GET /rpc/<service>/<procedure>', () => {
  it('calls a procedure that is declared safe, with the input of the query, and is stored nowhere', async () => {
    await using app = await serve({}, { services })
    const answer = await get(app, 'find', { name: 'ä & b' })
    expect(answer.status).toBe(200)
    expect(answer.headers.get('cache-control')).toBe('no-store')
    expect(await answer.json()).toEqual({ found: 'ä & b' })
    const empty = await get(app, 'nothing')
    expect(empty.status).toBe(204)
    expect(empty.headers.get('cache-control')).toBe('no-store')
  })

  it('never runs a procedure or a stream that is not', async () => {
    await using app = await serve({}, { services })
    for (const path of ['write', 'feed']) {
      const answer = await get(app, path)
      expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST'])
    }
    expect(written).toBe(0)
  })

  it('answers to HEAD with the head of the answer to GET', async () => {
    await using app = await serve({}, { services })
    const input = encodeURIComponent(JSON.stringify({ name: 'a' }))
    const answer = await fetch(`${app.url}/rpc/stock/find?input=${input}`, { method: 'HEAD' })
    expect([answer.status, answer.headers.get('content-length')]).toEqual([200, '13'])
    expect(await answer.text()).toBe('')
    const stream = await fetch(`${app.url}/rpc/stock/watch`, { method: 'HEAD' })
    expect([stream.status, stream.headers.get('allow')]).toEqual([405, 'GET, POST'])
  })

  it('answers no other method than GET, HEAD and POST', async () => {
    await using app = await serve({}, { services })
    const answer = await fetch(`${app.url}/rpc/stock/find`, { method: 'PUT' })
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'GET, HEAD, POST'])
  })

  it('streams, also after the last event that the client saw', async () => {
    await using app = await serve({}, { services })
    const answer = await get(app, 'watch', { to: 3 }, { accept: 'text/event-stream', 'last-event-id': '2' })
    expect(answer.headers.get('content-type')).toBe('text/event-stream')
    expect(await answer.text()).toBe('id: 3\ndata: {"id":3}\n\nevent: end\ndata:\n\n')
  })

  it('holds its input to the schema, its limit and its access rule', async () => {
    await using app = await serve({}, { services })
    expect((await get(app, 'find', { name: 1 })).status).toBe(400)
    expect((await get(app, 'find', { name: 'x'.repeat(64) })).status).toBe(413)
    expect((await get(app, 'mine')).status).toBe(401)
    expect(await (await get(app, 'mine', undefined, { authorization: 'Bearer alice' })).json()).toBe('alice')
  })

  it.each([
    ['another parameter', '?access_token=x', 'ERR_SERVER_BAD_REQUEST'],
    ['two inputs', '?input={}&input={}', 'ERR_SERVER_BAD_REQUEST'],
    ['what is no UTF-8', '?input={"name":"%ff"}', 'ERR_SERVER_BAD_REQUEST'],
    ['an input that is not JSON', '?input={', 'ERR_SERVER_BODY_INVALID'],
    ['a member twice', '?input={"name":"a","name":"b"}', 'ERR_SERVER_BODY_INVALID'],
  ])('refuses %s', async (_what, query, code) => {
    await using app = await serve({}, { services })
    const answer = await fetch(`${app.url}/rpc/stock/find${query}`)
    expect(answer.status).toBe(400)
    expect(await answer.json()).toMatchObject({ code })
  })

  it.each(['cross-site', 'same-site', 'anything'])(
    'refuses the page of another origin (%s)',
    async (site) => {
      await using app = await serve({ cors: ['https://app.example'] }, { services })
      const strange = await get(app, 'nothing', undefined, { 'sec-fetch-site': site })
      expect(strange.status).toBe(403)
      const evil = { 'sec-fetch-site': site, origin: 'https://evil.example' }
      expect((await get(app, 'nothing', undefined, evil)).status).toBe(403)
      const allowed = { 'sec-fetch-site': site, origin: 'https://app.example' }
      expect((await get(app, 'nothing', undefined, allowed)).status).toBe(204)
    },
  )

  it.each(['same-origin', 'none'])('answers a page of its own (%s)', async (site) => {
    await using app = await serve({}, { services })
    expect((await get(app, 'nothing', undefined, { 'sec-fetch-site': site })).status).toBe(204)
  })
})
