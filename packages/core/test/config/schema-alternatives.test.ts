import { describe, expect, it } from 'vitest'
import { alternativesOf } from '../../src/config/schema-alternatives.ts'

describe('alternativesOf', () => {
  it('takes unions and references apart', () => {
    const text = { type: 'string' }
    const root = { $defs: { port: { type: 'integer' } }, anyOf: [text, { $ref: '#/$defs/port' }] }
    expect(alternativesOf(root, root)).toEqual([text, { type: 'integer' }])
  })

  it('ends with a union that lists itself, however often', () => {
    const itself = Array.from({ length: 8 }, () => ({ $ref: '#' }))
    const root = { anyOf: [...itself, { type: 'boolean' }] }
    expect(alternativesOf(root, root)).toEqual([{ type: 'boolean' }])
  })
})
