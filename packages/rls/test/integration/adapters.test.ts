import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import fastify from 'fastify'
import { Hono } from 'hono'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { expressErrors, rlsContext as expressContext } from '../../src/adapters/express.ts'
import { fastifyErrors, rlsContext as fastifyContext } from '../../src/adapters/fastify.ts'
import { honoErrors, rlsContext as honoContext } from '../../src/adapters/hono.ts'
import type { RlsPool } from '../../src/index.ts'
import { createTwoTenants, tenantA, tenantB, type TwoTenants } from '../fixtures/two-tenants.ts'

let fixture: TwoTenants
let pool: RlsPool

beforeAll(async () => {
  fixture = await createTwoTenants()
  pool = fixture.pool({}, { max: 2 })
})
afterAll(() => fixture.drop())

const read = async (): Promise<string> => {
  try {
    const { rows } = await pool.query<{ title: string }>('select title from notes order by title')
    return rows.map(({ title }) => title).join(' ')
  } catch (error) {
    return (error as { code: string }).code
  }
}
const tenantOf = (value: string | string[] | null | undefined) =>
  typeof value === 'string' ? { tenantId: value } : null

/** Asks as both tenants and as nobody, many at once. */
const askEverybody = async (ask: (tenant: string | undefined) => Promise<string>): Promise<void> => {
  const asked = Array.from({ length: 30 }, (_, index) => [tenantA, tenantB, undefined][index % 3])
  const answers = await Promise.all(asked.map((tenant) => ask(tenant)))
  const expected = asked.map((tenant) =>
    tenant === tenantA ? 'a1 a2' : tenant === tenantB ? 'b1 b2' : '42501',
  )
  expect(answers).toEqual(expected)
}

const headers = (tenant: string | undefined): Record<string, string> => (tenant ? { 'x-tenant': tenant } : {})

describe('rlsContext', () => {
  it('holds an Express handler to the tenant of the request', async () => {
    const app = express()
    app.use(express.json())
    app.use(expressContext<IncomingMessage>({ context: (request) => tenantOf(request.headers['x-tenant']) }))
    app.post('/', (_request, response) => void read().then((text) => response.send(text)))
    app.use((error: { code?: string }, _request: unknown, response: express.Response, _next: unknown) => {
      response.status(400).send(error.code)
    })
    const server = createServer(app)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
    const ask = async (tenant: string | undefined) =>
      (
        await fetch(url, {
          method: 'POST',
          body: '{"a":1}',
          headers: { ...headers(tenant), 'content-type': 'application/json' },
        })
      ).text()
    await askEverybody(ask)
    expect(await ask('x'.repeat(300))).toBe('ERR_RLS_INVALID_CONTEXT')
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })

  it('holds a Fastify handler to the tenant of the request', async () => {
    const app = fastify()
    app.addHook(
      'preHandler',
      fastifyContext({
        context: (request) => tenantOf(request.headers['x-tenant']),
      }),
    )
    app.post('/', read)
    const ask = async (tenant: string | undefined) =>
      (await app.inject({ method: 'POST', url: '/', payload: { a: 1 }, headers: headers(tenant) })).body
    await askEverybody(ask)
    expect(await ask('x'.repeat(300))).toContain('ERR_RLS_INVALID_CONTEXT')
    await app.close()
  })

  it('holds a Hono handler to the tenant of the request', async () => {
    const app = new Hono()
    app.use(
      honoContext({
        context: (c) => tenantOf(c.req.header('x-tenant')),
      }),
    )
    app.post('/', async (c) => c.text(await read()))
    app.onError((error, c) => c.text((error as { code?: string }).code ?? ''))
    const ask = async (tenant: string | undefined) =>
      (await app.request('/', { method: 'POST', body: '{}', headers: headers(tenant) })).text()
    await askEverybody(ask)
    expect(await ask('x'.repeat(300))).toBe('ERR_RLS_INVALID_CONTEXT')
  })

  it('says why a body of Hono that is read after the handler finds no rows', async () => {
    const app = new Hono()
    app.use(honoContext({ context: (c) => tenantOf(c.req.header('x-tenant')) }))
    const hints: unknown[] = []
    app.get('/', () => {
      const pull = async (controller: ReadableStreamDefaultController<Uint8Array>): Promise<void> => {
        await pool
          .query('select title from notes')
          .catch((error: { hint?: string }) => hints.push(error.hint))
        controller.close()
      }
      return new Response(new ReadableStream({ pull }, { highWaterMark: 0 }))
    })
    await (await app.request('/', { headers: headers(tenantA) })).text()
    expect(hints).toEqual([expect.stringContaining('read after the handler has returned')])
  })

  it('refuses options it does not know', () => {
    expect(() => expressContext({ contxt: () => null } as never)).toThrow(/Did you mean "context"/)
    expect(() => honoContext({} as never)).toThrow(/give a function/)
  })
})

describe('the error handlers', () => {
  const forbidden = async (): Promise<never> => {
    await pool.query('select title from notes')
    throw new Error('unreachable')
  }
  const expectProblem = (status: number, text: string): void => {
    expect(JSON.parse(text)).toMatchObject({ status, code: 'ERR_RLS_FORBIDDEN', kind: 'forbidden' })
    expect([status, text.includes('notes')]).toEqual([403, false])
  }

  it('of Express answers an error of PostgreSQL with its status and without its text', async () => {
    const app = express()
    app.get('/', (_request, _response, next) => void forbidden().catch(next))
    app.use(expressErrors())
    const server = createServer(app)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const answer = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
    expectProblem(answer.status, await answer.text())
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })

  it('of Fastify answers an error of PostgreSQL with its status and without its text', async () => {
    const app = fastify()
    app.setErrorHandler(fastifyErrors())
    app.get('/', forbidden)
    const answer = await app.inject({ url: '/' })
    expectProblem(answer.statusCode, answer.body)
    await app.close()
  })

  it('of Hono answers an error of PostgreSQL with its status, and tells an unknown one to its owner alone', async () => {
    const seen: unknown[] = []
    const unknown = new Error('a secret of the process')
    const app = new Hono().get('/', forbidden).get('/bug', () => {
      throw unknown
    })
    app.onError(honoErrors({ onError: (error) => seen.push(error) }))
    const answer = await app.request('/')
    expectProblem(answer.status, await answer.text())
    const bug = await app.request('/bug')
    expect([bug.status, (await bug.text()).includes('secret'), seen]).toEqual([500, false, [unknown]])
  })

  it('of Hono answers an error after an answer whose headers cannot be changed', async () => {
    const app = new Hono()
    app.use(async (_context, next) => {
      await next()
      await forbidden()
    })
    app.get('/', () => Response.redirect('https://app.test/'))
    app.onError(honoErrors())
    const answer = await app.request('/')
    expectProblem(answer.status, await answer.text())
    expect(answer.headers.get('location')).toBeNull()
  })
})
