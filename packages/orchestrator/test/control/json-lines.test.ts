import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { jsonLines } from '../../src/control/json-lines.ts'

let received: unknown[]
let server: ReturnType<typeof createServer>
let peer: Socket
let closed: Promise<void>
beforeEach(async () => {
  received = []
  server = createServer((socket) => void jsonLines(socket, (message) => received.push(message)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  peer = connect((server.address() as AddressInfo).port, '127.0.0.1')
  peer.on('error', () => undefined)
  closed = new Promise((resolve) => void peer.once('close', () => resolve()))
  await once(peer, 'connect')
})
afterEach(() => {
  peer.destroy()
  server.close()
})

it('puts together what arrives in pieces, also a character', async () => {
  const bytes = Buffer.from('{"a":"é"}\n{"b":1}\n')
  for (const byte of bytes) peer.write(Buffer.of(byte))
  peer.end()
  await closed
  expect(received).toEqual([{ a: 'é' }, { b: 1 }])
})

it('closes the connection of a peer that sends no end of a line, at once', async () => {
  const chunk = Buffer.alloc(64 * 1024, 'x')
  for (let sent = 0; sent <= 9 * 1024 * 1024; sent += chunk.length) peer.write(chunk)
  await closed
  expect(received).toEqual([])
})

it('hears nothing after what is not JSON', async () => {
  peer.write('{"a":1}\nnot json\n{"b":1}\n')
  await closed
  expect(received).toEqual([{ a: 1 }])
})
