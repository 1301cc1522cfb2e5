import { once } from 'node:events'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { freePort, spawnActivated, until } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import { createGateway } from '../../src/index.ts'
import { appRoute } from '../support/gateway.ts'
import { rememberLines } from '../support/log.ts'
import { startUpstream } from '../support/upstream.ts'

const nowhere = 'http://127.0.0.1:1'

describe('createGateway', () => {
  it('survives a callback that fails later, and says so', async () => {
    const { logger, lines } = rememberLines()
    await using upstream = await startUpstream()
    await using gateway = await createGateway({
      port: 0,
      logger,
      routes: [appRoute([upstream.url])],
      onSettled: async () => Promise.reject(new Error('the database is down')),
    })
    expect((await fetch(`${gateway.url}/api/app/`)).status).toBe(200)
    await until(() => lines.some(({ message }) => message === 'onSettled has failed'))
    expect((await fetch(`${gateway.url}/api/app/`)).status).toBe(200)
  })

  it('listens no more when it rejects', async () => {
    const { logger } = rememberLines()
    const port = await freePort()
    const failing = {
      ...logger,
      info: () => {
        throw new Error('no space left')
      },
    }
    await expect(createGateway({ port, logger: failing, routes: [appRoute([nowhere])] })).rejects.toThrow(
      'no space left',
    )
    const socket = connect(port, '127.0.0.1')
    const [error] = (await once(socket, 'error')) as [NodeJS.ErrnoException]
    expect(error.code).toBe('ECONNREFUSED')
  })

  it('listens on a socket that the process inherits, and says when it is none', async () => {
    const fixture = fileURLToPath(new URL('../support/activated.ts', import.meta.url))
    await using activated = await spawnActivated([process.execPath, fixture], ['http'])
    const { child, ports } = activated
    const [line] = (await once(createInterface(child.stdout as NodeJS.ReadableStream), 'line')) as [string]
    expect(line).toBe(`http://127.0.0.1:${ports['http']}`)
    expect((await fetch(`${line}/nothing`)).status).toBe(404)
    const routes = [appRoute([nowhere])]
    await expect(createGateway({ fd: 12_345, routes })).rejects.toThrow(
      'The gateway cannot listen on the socket that it inherits: The descriptor 12345 is no socket',
    )
    await expect(createGateway({ fd: 3, port: 8080, routes })).rejects.toThrow('gateway.fd: contradicts port')
  })

  it('goes on when neither its callback nor its log works', async () => {
    const { logger } = rememberLines()
    const fails = (): never => {
      throw new Error('no space left')
    }
    await using gateway = await createGateway({
      port: 0,
      logger: { ...logger, error: fails },
      routes: [appRoute([nowhere])],
      onSettled: fails,
    })
    for (let index = 0; index < 3; index++)
      expect((await fetch(`${gateway.url}/nothing`).catch(() => ({ status: 404 }))).status).toBe(404)
  })
})
