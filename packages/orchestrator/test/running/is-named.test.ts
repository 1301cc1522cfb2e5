import { describe, expect, it } from 'vitest'
import { isNamed } from '../../src/running/is-named.ts'

describe('isNamed', () => {
  const ids = ['media/http', 'media/thumbs.0', 'media/thumbs.1', 'media-archive/http']

  it.each([
    ['media', ['media/http', 'media/thumbs.0', 'media/thumbs.1']],
    ['media/http', ['media/http']],
    ['media/thumbs', ['media/thumbs.0', 'media/thumbs.1']],
    ['media/thumbs.1', ['media/thumbs.1']],
    ['media/thumb', []],
    ['thumbs', []],
    ['', []],
  ])('%j means %j', (name, expected) => {
    expect(ids.filter((id) => isNamed(id, name))).toEqual(expected)
  })
})
