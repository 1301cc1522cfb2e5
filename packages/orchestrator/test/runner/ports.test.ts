import { defineProcess, defineSystem } from '@quintet/core'
import { describe, expect, it } from 'vitest'
import { assertPorts, ofTransports, readPorts } from '../../src/runner/ports.ts'
import { plainHttp } from '../fixtures/plain-http.ts'

const entry = (name: string, transports: readonly string[]) => ({
  name,
  module: async () => ({ default: defineProcess({}) }),
  transports: Object.fromEntries(transports.map((transport) => [transport, plainHttp(0)])),
})

const system = defineSystem({
  name: 'shop',
  version: '1.0.0',
  processes: [entry('web', ['http', 'ws']), entry('admin', ['http'])],
})

describe('QUINTET_PORTS', () => {
  it.each(['null', '[]', '3002', '"http"', '{"http":"3002"}', '{"http":65536}', '{"http":-1}', '{'])(
    'is refused when it is %s',
    (text) => {
      expect(() => readPorts({ QUINTET_PORTS: text })).toThrow(
        /^QUINTET_PORTS: .* is no JSON object of ports/,
      )
    },
  )

  it('gives ports by transport', () => {
    expect(readPorts({ QUINTET_PORTS: '{"http":3002,"ws":0}' })).toEqual({ http: 3002, ws: 0 })
    expect(readPorts({})).toEqual({})
  })
})

describe('ports', () => {
  it('are refused for a transport that there is not', () => {
    expect(() => assertPorts(system, ['web', 'admin'], { htpp: 3999 })).toThrow(
      'port htpp=3999: there is no transport "htpp". Transports: http, ws.',
    )
    expect(() => assertPorts(system, ['admin'], { ws: 3999 })).toThrow('Transports: http.')
  })

  it('are refused for a transport that several processes have, unless any port will do', () => {
    expect(() => assertPorts(system, ['web', 'admin'], { http: 3999 })).toThrow(
      'port http=3999: web and admin have a transport "http" each',
    )
    expect(() => assertPorts(system, ['web', 'admin'], { http: 0, ws: 3999 })).not.toThrow()
    expect(() => assertPorts(system, ['web'], { http: 3999 })).not.toThrow()
  })

  it('go to the process whose transports they are', () => {
    expect(ofTransports(system, 'admin', { http: 0, ws: 3999 })).toEqual({ http: 0 })
  })
})
