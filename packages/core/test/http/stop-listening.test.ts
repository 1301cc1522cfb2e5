import { once } from 'node:events'
import { createServer } from 'node:http'
import { connect, type AddressInfo, type Socket } from 'node:net'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { stopListening } from '../../src/http.ts'

describe('stopListening', () => {
  it('resets none of the connections that wait to be accepted', async () => {
    const server = createServer((request, response) => response.end('answered'))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    // The kernel completes them at once; nothing has been accepted yet.
    const clients = Array.from({ length: 40 }, () => connect(port, '127.0.0.1'))
    const ask = async (client: Socket): Promise<string> => {
      client.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n')
      return (await text(client)).slice(-8)
    }
    const answers = Promise.all(clients.map(ask))
    await stopListening(server)
    expect(server.listening).toBe(false)
    expect(new Set(await answers)).toEqual(new Set(['answered']))
    await expect(once(connect(port, '127.0.0.1'), 'connect')).rejects.toThrow('ECONNREFUSED')
  })

  it('ends although clients never stop to connect', async () => {
    const server = createServer((request, response) => response.end())
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const sockets = new Set<Socket>()
    const open = (): void => {
      const socket = connect(port, '127.0.0.1')
      sockets.add(socket)
      socket.on('error', () => undefined)
    }
    server.on('connection', open)
    open()
    await stopListening(server)
    expect(server.listening).toBe(false)
    server.off('connection', open)
    for (const socket of sockets) socket.destroy()
    server.closeAllConnections()
  })
})
