import { expect, it } from 'vitest'
import { assertNode } from '../src/assert-node.ts'

it('refuses a Node that cannot hand on a listening socket, in one line', () => {
  expect(() => assertNode({})).toThrow(
    /^quintet needs Node 24\.19 or newer, or 26\.4 or newer; this is \d+\.\d+\.\d+\.$/,
  )
  assertNode()
})
