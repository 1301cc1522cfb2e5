import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { appRoute, startGateway } from '../support/gateway.ts'

describe('an upstream with TLS', () => {
  const names: unknown[] = []
  let port = 0
  let certificate = ''
  let server: ReturnType<typeof createServer>

  beforeAll(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'quintet-tls-'))
    const files = { key: join(folder, 'key.pem'), cert: join(folder, 'cert.pem') }
    const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost']
    execFileSync(
      'openssl',
      [
        'req',
        '-x509',
        '-newkey',
        'rsa:2048',
        '-nodes',
        '-days',
        '1',
        '-keyout',
        files.key,
        '-out',
        files.cert,
      ].concat(subject),
      { stdio: 'ignore' },
    )
    certificate = readFileSync(files.cert, 'utf8')
    server = createServer({ key: readFileSync(files.key), cert: certificate }, (request, response) => {
      names.push((request.socket as TLSSocket).servername)
      response.end('hello')
    })
    rmSync(folder, { recursive: true })
    await new Promise<void>((resolve) => server.listen(0, resolve))
    port = (server.address() as AddressInfo).port
  })

  afterAll(async () => {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  })

  const ask = async (host: string): Promise<number> => {
    await using gateway = await startGateway({ routes: [appRoute([`https://${host}:${port}`])] })
    return (await fetch(`${gateway.url}/api/app/`)).status
  }

  it('is refused without a certificate of a known authority', async () => {
    expect(await ask('localhost')).toBe(502)
    expect(names).toEqual([])
  })

  it('is asked under its own name, and refused under another', async () => {
    const known = getCACertificates('default')
    setDefaultCACertificates([...known, certificate])
    try {
      expect(await ask('localhost')).toBe(200)
      expect(names).toEqual(['localhost'])
      expect(await ask('127.0.0.1')).toBe(502)
      expect(names).toEqual(['localhost'])
    } finally {
      setDefaultCACertificates(known)
    }
  })
})
