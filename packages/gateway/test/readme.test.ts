import { readFileSync } from 'node:fs'
import { describe, expect, it, vi } from 'vitest'
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

  it('shows the example that runs', async () => {
    const example = readFileSync(new URL('../examples/front-door.ts', import.meta.url), 'utf8')
    expect(readme).toContain(example)
    const print = vi.spyOn(console, 'log').mockImplementation(() => undefined)
    await import('../examples/front-door.ts')
    expect(print).toHaveBeenCalledWith(200, 'you asked for /objects/1')
    print.mockRestore()
  })
})
