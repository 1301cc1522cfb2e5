import { once } from 'node:events'
import { Agent, request } from 'node:http'
import { connect } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { until } from '../support/raw.ts'
import { serve } from '../support/serve.ts'

/** Whether nothing listens any more; a connection that comes amid the stop is taken, or reset. */
function isRefused(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port)
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
  })
}

describe('a stop', () => {
  it('is announced on every answer while the server still serves', async () => {
    await using app = await serve()
    const agent = new Agent({ keepAlive: true })
    const ask = (): Promise<string | undefined> =>
      new Promise((resolve, reject) => {
        request(`${app.url}/rpc/math/nothing`, { agent, method: 'POST' }, (answer) => {
          answer.resume().on('end', () => resolve(answer.headers.connection))
        })
          .on('error', reject)
          .end()
      })
    expect(await ask()).toBe('keep-alive')
    app.running.announceStop?.('deployment')
    expect(await ask()).toBe('close')
    // A new connection is still taken.
    expect(await ask()).toBe('close')
    await app.running.drain('deployment', AbortSignal.timeout(5_000))
    await expect(ask()).rejects.toThrow(/ECONNREFUSED/)
    agent.destroy()
  })

  it('that gives way closes no idle connection before it has told its client', async () => {
    await using app = await serve({ keepAliveTimeout: '30s' })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const { port } = new URL(app.url)
    const ask = (): Promise<string | undefined> =>
      new Promise((resolve, reject) => {
        request(`${app.url}/rpc/math/nothing`, { agent, method: 'POST' }, (answer) => {
          answer.resume().on('end', () => resolve(answer.headers.connection))
        })
          .on('error', reject)
          .end()
      })
    expect(await ask()).toBe('keep-alive')
    const silent = connect(Number(port))
    const closed = once(silent, 'close')
    await once(silent, 'connect')
    let gone = false
    const given = app.running.giveWay?.('deployment', AbortSignal.timeout(60_000)).then(() => (gone = true))
    while (!(await isRefused(Number(port)))) await delay(5)
    // Longer than a drain would wait.
    await delay(1_000)
    expect(await ask()).toBe('close')
    await expect(ask()).rejects.toThrow(/ECONNREFUSED/)
    expect(gone).toBe(false)
    // The stop that follows is in more of a hurry.
    await app.running.drain('deployment', AbortSignal.timeout(20_000))
    await Promise.all([given, closed])
    agent.destroy()
  })

  it('costs no busy keep-alive connection a request', async () => {
    await using app = await serve()
    let answered = 0
    const lost: unknown[] = []
    const client = async (): Promise<void> => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 })
      let last = false
      while (!last) {
        await new Promise<void>((resolve) => {
          const asked = request(`${app.url}/rpc/math/nothing`, { agent, method: 'POST' }, (answer) => {
            answer.resume().on('end', () => {
              answered++
              // What is said of a connection that will close is heeded.
              last = answer.headers.connection === 'close'
              resolve()
            })
          })
          asked.on('error', (error) => {
            lost.push(error)
            last = true
            resolve()
          })
          asked.end()
        })
      }
      agent.destroy()
    }
    const clients = Array.from({ length: 15 }, client)
    await until(() => answered > 200)
    const drained = app.running.drain('deployment', AbortSignal.timeout(10_000))
    await Promise.all([drained, ...clients])
    expect(lost).toEqual([])
  })
})
