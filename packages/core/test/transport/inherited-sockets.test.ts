import { describe, expect, it } from 'vitest'
import { inheritedSockets } from '../../src/http.ts'

const own = { LISTEN_PID: String(process.pid) }

describe('inheritedSockets', () => {
  it('gives the descriptors by name, from 3 on', () => {
    expect([...inheritedSockets({ ...own, LISTEN_FDS: '2', LISTEN_FDNAMES: 'http:websocket' })]).toEqual([
      ['http', 3],
      ['websocket', 4],
    ])
  })

  it('calls a socket without a name "unknown", as systemd does', () => {
    expect([...inheritedSockets({ ...own, LISTEN_FDS: '1' })]).toEqual([['unknown', 3]])
  })

  it('has none where none were handed over, or they are meant for another process', () => {
    expect(inheritedSockets({}).size).toBe(0)
    expect(inheritedSockets({ ...own, LISTEN_FDS: '0', LISTEN_FDNAMES: '' }).size).toBe(0)
    expect(inheritedSockets({ LISTEN_PID: '1', LISTEN_FDS: '1', LISTEN_FDNAMES: 'http' }).size).toBe(0)
    expect(inheritedSockets({ LISTEN_FDS: '1', LISTEN_FDNAMES: 'http' }).size).toBe(0)
  })

  it.each([
    [{ LISTEN_FDS: 'x' }, 'LISTEN_FDS: "x" is no number of sockets.'],
    [{ LISTEN_FDS: '-1' }, 'LISTEN_FDS: "-1" is no number of sockets.'],
    [{ LISTEN_FDS: '2', LISTEN_FDNAMES: 'http' }, 'names 1 sockets, and LISTEN_FDS says 2'],
    [{ LISTEN_FDS: '2', LISTEN_FDNAMES: 'http:http' }, 'two sockets are called "http"'],
    [{ LISTEN_FDS: '2' }, 'two sockets are called "unknown"'],
  ])('refuses %j', (env, message) => {
    expect(() => inheritedSockets({ ...own, ...env })).toThrow(message)
  })
})
