import { describe, expect, it } from 'vitest'
import { resolveUrls } from '../../src/plan/url-references.ts'

const ports: Readonly<Record<string, number>> = { 'one/http': 3001, 'one/many.0': 3002 }
const resolve = (value: string): string | undefined =>
  resolveUrls({ PEER: value }, (process, transport) => (transport === 'http' ? ports[process] : undefined))[
    'PEER'
  ]

describe('a reference', () => {
  it('stands for the address of a process or an instance', () => {
    expect(resolve('a ${url:one/http}/x ${url:one/many.0/http}')).toBe(
      'a http://127.0.0.1:3001/x http://127.0.0.1:3002',
    )
  })

  it.each([
    '${url:one}',
    '${url:One/http}',
    '${url: one/http}',
    '${url:one/http/a/b}',
    '${url:}',
    '${url:one/http',
  ])('of the form %s is refused', (text) => {
    expect(() => resolve(`x${text}`)).toThrow(
      `env.PEER: ${text} is no reference. Write \${url:<app>/<process>}`,
    )
  })

  it('to no process is refused', () => {
    expect(() => resolve('${url:one/many}')).toThrow('env.PEER: ${url:one/many} names no process')
  })
})
