import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { reasons } from '../src/errors.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

describe('the README', () => {
  it('names every code with its kind and status, and no other', () => {
    const rows = [...readme.matchAll(/^\| `(ERR_\w+)` \| ([\w-]+) \| (\d+|-) \|/gm)].map(
      ([, code, kind, status]) => [code, kind, status],
    )
    const told = Object.entries(reasons).map(([code, { kind, status }]) => [
      code,
      kind,
      code === 'ERR_GATEWAY_LISTEN_FAILED' ? '-' : String(status),
    ])
    expect(rows).toEqual(told)
  })
})
