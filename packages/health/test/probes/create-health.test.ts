import { createServer } from 'node:http'
import { silentLogger } from '@quintet/core'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { createHealth, type CreateHealthOptions, type Health } from '../../src/index.ts'

const token = 'a-token-of-some-length'
let health: Health | undefined
afterEach(() => health?.close())

const make = (options: CreateHealthOptions = {}): Health => (health = createHealth(options))
const ask = async (path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<Response> => {
  const response = await health?.fetch(new Request(`http://localhost${path}`, { headers, method }))
  if (response === undefined) throw new Error(`${path} is no probe`)
  return response
}

describe('createHealth', () => {
  it('is ready from markStarted to stopAccepting, as far as its checks agree', async () => {
    let broken = false
    make({
      checks: [
        { name: 'database', check: () => (broken ? Promise.reject(new Error('down')) : Promise.resolve()) },
      ],
    })
    expect((await ask('/startupz')).status).toBe(503)
    expect((await ask('/readyz')).status).toBe(503)
    health?.markStarted()
    expect((await ask('/startupz')).status).toBe(200)
    expect((await ask('/readyz')).status).toBe(200)
    broken = true
    health?.add({ name: 'cache', critical: false, check: () => Promise.resolve() })
    expect((await ask('/readyz')).status).toBe(503)
    broken = false
    health?.stopAccepting()
    expect((await ask('/readyz')).status).toBe(503)
    expect((await ask('/livez')).status).toBe(200)
  })

  it('answers fetch for probes only, and operators there by token alone', async () => {
    make({ operators: { token }, about: { name: 'shop', version: '2.1.0' } })
    expect(await health?.fetch(new Request('http://localhost/'))).toBeUndefined()
    expect((await ask('/health')).status).toBe(401)
    const answer = await ask('/health', { authorization: `Bearer ${token}` })
    expect(await answer.json()).toMatchObject({ name: 'shop', version: '2.1.0', accepting: false })
    expect(await (await ask('/livez', {}, 'HEAD')).text()).toBe('')
  })

  it('shows operators that it is stopping, however well its checks are', async () => {
    make({ operators: { token }, checks: [{ name: 'database', check: async () => 'ready' }] })
    health?.markStarted()
    const read = (): Promise<Response> => ask('/health', { authorization: `Bearer ${token}` })
    expect((await read()).status).toBe(200)
    health?.stopAccepting()
    const answer = await read()
    expect(answer.status).toBe(503)
    expect(await answer.json()).toMatchObject({
      status: 'fail',
      started: true,
      accepting: false,
      checks: { database: { status: 'pass' } },
    })
  })

  it('shows what was measured with its metrics', async () => {
    make({ operators: { token } })
    health?.metrics.counter('orders_total', { help: 'Orders.' }).add({})
    health?.performance.record('checkout', 12)
    const text = await (await ask('/metrics', { authorization: `Bearer ${token}` })).text()
    expect(text).toContain('orders_total 1')
    const report = (await (await ask('/health', { authorization: `Bearer ${token}` })).json()) as {
      performance: { operations: object }
    }
    expect(report.performance.operations).toMatchObject({ checkout: { count: 1 } })
  })

  it('answers on a Node server, and leaves everything else to it', async () => {
    make()
    health?.markStarted()
    const server = createServer((request, response) => {
      if (health?.handle(request, response) !== true) response.end('mine')
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    try {
      expect(await (await fetch(`http://127.0.0.1:${port}/readyz`)).json()).toEqual({ status: 'pass' })
      expect(await (await fetch(`http://127.0.0.1:${port}/shop`)).text()).toBe('mine')
    } finally {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  })

  it('answers operators without a token on a server of their own', async () => {
    make()
    const server = createServer((request, response) => {
      if (health?.handleOperator(request, response) !== true) response.writeHead(404).end()
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as AddressInfo
    try {
      expect((await fetch(`http://127.0.0.1:${port}/metrics`)).status).toBe(200)
      expect((await fetch(`http://127.0.0.1:${port}/shop`)).status).toBe(404)
    } finally {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    }
  })

  it('refuses options that it does not know', () => {
    expect(() => createHealth({ check: [] } as never)).toThrow(
      'createHealth: unknown key "check". Did you mean "checks"?',
    )
  })

  it('answers fail, and logs why, when a scrape fails', async () => {
    const logged: unknown[] = []
    const logger = { ...silentLogger, error: (fields: unknown) => void logged.push(fields) }
    make({ operators: { token }, logger })
    health?.metrics.include(() => Promise.reject(new Error('no')))
    expect((await ask('/metrics', { authorization: `Bearer ${token}` })).status).toBe(503)
    expect(logged).toHaveLength(1)
  })
})
