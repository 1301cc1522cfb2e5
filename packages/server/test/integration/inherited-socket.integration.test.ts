import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { spawnActivated } from '@quintet/test-kit'
import { createTestHost } from '@quintet/core/testing'
import { describe, expect, it, onTestFinished } from 'vitest'
import { WebSocket } from 'ws'
import { http, websocket } from '../../src/index.ts'

const fixture = fileURLToPath(new URL('../support/activated.ts', import.meta.url))

describe('a socket that the process inherits', () => {
  it('is where http({ fd }) and websocket({ fd }) listen', async () => {
    await using activated = await spawnActivated([process.execPath, fixture], ['http', 'websocket'])
    const { child, ports } = activated
    // Clients that come before the program is up are answered when it is.
    const early = fetch(`http://127.0.0.1:${ports['http']}/nothing`)
    const [line] = (await once(createInterface(child.stdout as NodeJS.ReadableStream), 'line')) as [string]
    expect(JSON.parse(line)).toEqual({
      http: `http://127.0.0.1:${ports['http']}`,
      websocket: `ws://127.0.0.1:${ports['websocket']}/ws`,
    })
    expect((await early).status).toBe(404)
    expect((await fetch(`http://127.0.0.1:${ports['websocket']}/ws`)).status).toBe(426)
    const refused = new WebSocket(`ws://127.0.0.1:${ports['websocket']}/ws`, 'quintet.rpc.v1')
    const [error] = (await once(refused, 'error')) as [Error]
    expect(error.message).toContain('401')
  })

  it.each([
    ['http', http({ fd: 12_345 })],
    ['websocket', websocket({ fd: 12_345 })],
  ])('of %s is refused when it is none, by its number', async (_name, transport) => {
    await using host = createTestHost()
    expect(transport).toMatchObject({ name: _name })
    expect(transport.port).toBeUndefined()
    await expect(transport.start(host)).rejects.toThrow('The descriptor 12345 is no socket to listen on')
  })

  it('wins over a port when it comes from outside', async () => {
    await using host = createTestHost({ socket: 12_345, port: 0 })
    await expect(http({ port: 0 }).start(host)).rejects.toThrow('The descriptor 12345')
    await using portHost = createTestHost({ port: 0 })
    const running = await http({ fd: 12_345 }).start(portHost)
    expect(running.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    await running.close()
  })

  it.each([http, websocket])('contradicts a port', (make) => {
    expect(() => make({ fd: 3, port: 3002 })).toThrow(/\.fd: contradicts \w+\.port/)
    expect(() => make({ fd: 2 })).toThrow(/\.fd: 2 is not a file descriptor of at least 3/)
  })

  it('comes from systemd itself', async () => {
    const activate = which('systemd-socket-activate')
    if (activate === undefined) return
    await using probe = await spawnActivated(['/bin/true'], ['free'])
    const port = probe.ports['free'] as number
    await once(probe.child, 'close')
    const args = ['--listen', `127.0.0.1:${port}`, '--fdname=http', process.execPath, fixture]
    const child = spawn(activate, args, { stdio: ['ignore', 'pipe', 'pipe'] })
    onTestFinished(() => void child.kill('SIGKILL'))
    await once(child.stderr, 'data')
    expect((await fetch(`http://127.0.0.1:${port}/nothing`)).status).toBe(404)
  })
})

function which(program: string): string | undefined {
  try {
    return execFileSync('/bin/sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).trim()
  } catch {
    return undefined
  }
}
