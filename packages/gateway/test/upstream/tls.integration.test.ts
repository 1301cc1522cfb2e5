import { createServer, type Server } from 'node:https'
import { connect, createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net'
import { getCACertificates, setDefaultCACertificates, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createCertificate } from '../support/certificate.ts'
import { appRoute, startGateway } from '../support/gateway.ts'
import { exchangeRaw, statusOf } from '../support/raw.ts'

const known = getCACertificates('default')
const certificate = createCertificate()

async function listen(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, resolve))
  return (server.address() as AddressInfo).port
}

describe('an upstream with TLS', () => {
  const names: unknown[] = []
  let connections = 0
  const server = createServer(certificate, (request, response) => {
    names.push((request.socket as TLSSocket).servername)
    if (request.url === '/endless') response.useChunkedEncodingByDefault = false
    response.end('hello')
  }).on('secureConnection', () => (connections += 1))
  const stranger = createServer(createCertificate(), (_request, response) => response.end('stranger'))
  let port = 0
  let strangerPort = 0

  beforeAll(async () => {
    ;[port, strangerPort] = await Promise.all([listen(server), listen(stranger)])
  })

  afterAll(async () => {
    setDefaultCACertificates(known)
    for (const each of [server, stranger]) {
      each.closeAllConnections()
      await new Promise((resolve) => each.close(resolve))
    }
  })

  const ask = async (host: string): Promise<number> => {
    await using gateway = await startGateway({ routes: [appRoute([`https://${host}:${port}`])] })
    return (await fetch(`${gateway.url}/api/app/`)).status
  }

  it('is refused without a certificate of a known authority', async () => {
    expect(await ask('localhost')).toBe(502)
    expect(names).toEqual([])
  })

  describe('whose authority is known', () => {
    beforeAll(() => setDefaultCACertificates([...known, certificate.cert]))

    it('is asked under its own name, and refused under another', async () => {
      expect(await ask('localhost')).toBe(200)
      expect(names).toEqual(['localhost'])
      expect(await ask('127.0.0.1')).toBe(502)
      expect(names).toEqual(['localhost'])
    })

    it('takes the place of one whose certificate is not known, whatever the method', async () => {
      await using gateway = await startGateway({
        ejection: false,
        routes: [appRoute([`https://localhost:${strangerPort}`, `https://localhost:${port}`])],
      })
      for (const init of [{ method: 'POST' }, { method: 'POST', body: 'x' }, {}])
        for (let index = 0; index < 4; index++)
          expect(await (await fetch(`${gateway.url}/api/app/`, init)).text()).toBe('hello')
    })

    it('keeps its connection behind HEAD', async () => {
      await using gateway = await startGateway({ routes: [appRoute([`https://localhost:${port}`])] })
      const before = connections
      const statuses: number[] = []
      const begin = performance.now()
      while (performance.now() - begin < 1_000)
        statuses.push((await fetch(`${gateway.url}/api/app/`, { method: 'HEAD' })).status)
      // Each rests for a moment, in which a new one is opened.
      expect(connections - before).toBeLessThan(statuses.length)
      const rested = connections
      await new Promise((resolve) => setTimeout(resolve, 400))
      await (await fetch(`${gateway.url}/api/app/`)).text()
      expect(connections).toBe(rested)
    })

    it('is not believed that its answer has ended where nothing but its connection says so', async () => {
      // Cuts every connection behind the first bytes of an answer, without the end that TLS has.
      const cut = createTcpServer({ allowHalfOpen: true }, (client: Socket) => {
        const upstream = connect(port, 'localhost')
        client.on('error', () => undefined).pipe(upstream.on('error', () => undefined))
        let bytes = 0
        upstream.on('data', (data: Buffer) => {
          client.write(data)
          bytes += data.length
          if (bytes > 2_500) client.end()
        })
      })
      await new Promise<void>((resolve) => cut.listen(0, resolve))
      const { port: cutPort } = cut.address() as AddressInfo
      await using gateway = await startGateway({
        routes: [
          { name: 'cut', path: '/cut/', upstreams: [`https://localhost:${cutPort}`] },
          { name: 'whole', path: '/whole/', upstreams: [`https://localhost:${port}`] },
        ],
      })
      for (const path of ['/cut/endless', '/whole/endless']) {
        const answer = await exchangeRaw(
          gateway.url,
          `GET ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n`,
        )
        expect(statusOf(answer)).toBe(502)
      }
      cut.close()
    })
  })
})
