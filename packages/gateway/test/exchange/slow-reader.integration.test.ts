import { channel } from 'node:diagnostics_channel'
import type { ServerResponse } from 'node:http'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { until } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import { appRoute, startGateway, type TestGateway } from '../support/gateway.ts'
import { exchangeRaw } from '../support/raw.ts'
import { startUpstream, type TestUpstream } from '../support/upstream.ts'

const chunk = Buffer.alloc(8_192, 97)

/** A client that asks and reads nothing, and the gateway's side of its connection. */
interface SlowReader {
  readonly client: Socket
  readonly answer: ServerResponse
}

async function openSlowReader(gateway: TestGateway): Promise<SlowReader> {
  const client = connect(Number(new URL(gateway.url).port), '127.0.0.1')
  client.on('error', () => undefined).pause()
  const answers = channel('http.server.request.start')
  const { promise, resolve } = Promise.withResolvers<ServerResponse>()
  const look = (message: unknown): void => {
    const { socket, response } = message as { socket: Socket; response: ServerResponse }
    if (socket.remotePort === client.localPort) resolve(response)
  }
  answers.subscribe(look)
  client.write('GET /api/app/ HTTP/1.1\r\nhost: a\r\n\r\n')
  const answer = await promise
  answers.unsubscribe(look)
  return { client, answer }
}

/** An upstream that goes on until a little of its answer stands in the gateway, and then ends it. */
async function startFilling(): Promise<TestUpstream & { answer: ServerResponse | undefined; sent: number }> {
  const filling = { answer: undefined as ServerResponse | undefined, sent: 0 }
  const upstream = await startUpstream((_request, response) => {
    void (async () => {
      for (let still = 0; still < 3;) {
        const stands = (filling.answer?.socket?.writableLength ?? 0) > 0
        still = stands ? still + 1 : 0
        if (stands) await delay(20)
        else {
          response.write(chunk)
          filling.sent += chunk.length
          // Until the gateway has taken it.
          await new Promise(setImmediate)
          await new Promise(setImmediate)
        }
      }
      response.end()
    })()
  })
  return Object.assign(filling, upstream)
}

describe('a client that reads slowly', () => {
  it('gets the rest of its answer before the gateway has drained', { timeout: 60_000 }, async () => {
    const upstream = await startFilling()
    const gateway = await startGateway({ routes: [appRoute([upstream.url])] })
    const { client, answer } = await openSlowReader(gateway)
    upstream.answer = answer
    await until(() => answer.writableEnded, 30_000)
    expect(answer.writableFinished).toBe(false)
    expect(gateway.settled).toEqual([])
    expect(gateway.status().requests).toBe(1)

    let drained = false
    const draining = gateway.drain('shutdown', AbortSignal.timeout(30_000)).then(() => (drained = true))
    await delay(700)
    expect(drained).toBe(false)
    let body = 0
    client.on('data', (data: Buffer) => {
      for (const byte of data) if (byte === 97) body += 1
    })
    const closed = new Promise<void>((resolve) => client.once('close', () => resolve()))
    client.resume()
    await draining
    await gateway.close()
    await closed
    expect(body).toBeGreaterThanOrEqual(upstream.sent)
    expect(gateway.settled).toMatchObject([{ status: 200, outcome: 'ok' }])
    await upstream.stop()
  })

  it('is cut off after the idle limit, also where the upstream has ended', { timeout: 60_000 }, async () => {
    const upstream = await startFilling()
    const gateway = await startGateway({ routes: [appRoute([upstream.url])], timeouts: { idle: 500 } })
    const { client, answer } = await openSlowReader(gateway)
    upstream.answer = answer
    await until(() => answer.writableEnded, 30_000)
    expect(gateway.status().routes[0]?.upstreams[0]?.requests).toBe(1)
    await until(() => gateway.status().connections === 0, 10_000)
    expect(gateway.settled).toMatchObject([{ status: 200, outcome: 'ERR_GATEWAY_REQUEST_TIMEOUT' }])
    expect(gateway.status().requests).toBe(0)
    client.destroy()
    await gateway.close()
    await upstream.stop()
  })

  it('does not stand still while its answer waits for an earlier one', async () => {
    let finish = (): void => undefined
    await using upstream = await startUpstream((request, response) => {
      if (request.url === '/big') return void response.end(Buffer.alloc(300_000, 97))
      const timer = setInterval(() => response.write('tick\n'), 20)
      finish = () => {
        clearInterval(timer)
        response.end()
      }
    })
    await using gateway = await startGateway({
      routes: [appRoute([upstream.url], { timeouts: { idle: 300 } })],
    })
    const answers = exchangeRaw(
      gateway.url,
      'GET /api/app/slow HTTP/1.1\r\nhost: a\r\n\r\nGET /api/app/big HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n',
    )
    await until(() => upstream.seen.length === 2)
    await delay(1_200)
    finish()
    expect((await answers).length).toBeGreaterThan(300_000)
    expect(gateway.settled.map(({ outcome }) => outcome)).toEqual(['ok', 'ok'])
  })
})

describe('an answer of the gateway itself', () => {
  it('that is not read is not kept for ever', async () => {
    await using gateway = await startGateway({
      routes: [appRoute(['http://127.0.0.1:1'])],
      timeouts: { idle: 300 },
    })
    const client = connect(Number(new URL(gateway.url).port), '127.0.0.1')
    client.on('error', () => undefined).pause()
    const requests = 'GET /nothing HTTP/1.1\r\nhost: a\r\n\r\n'.repeat(500)
    // Until the gateway's answers no longer fit on the way and it reads no further, or has closed the connection already.
    let blocked = false
    while (!blocked) {
      const failed = new Promise<boolean>((resolve) =>
        client.write(requests, (error) => resolve(error instanceof Error)),
      )
      blocked = await Promise.race([failed, delay(1_000, true)])
    }
    await until(() => gateway.status().connections === 0, 10_000)
    client.destroy()
  })
})
