import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { errorKinds } from '../src/errors.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

describe('the README', () => {
  it('names every code with its kind, and no other', () => {
    const rows = [...readme.matchAll(/^\| `(ERR_\w+)` \| ([\w-]+) \|/gm)].map(([, code, kind]) => [
      code,
      kind,
    ])
    // The last one is the client's own: a server never sends it.
    expect(rows).toEqual([...Object.entries(errorKinds), ['ERR_REALTIME_TIMEOUT', 'timeout']])
  })
})
