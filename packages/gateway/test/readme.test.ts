import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { statusOf } from '@quintet/core/http'
import { GatewayError, kinds, type GatewayErrorCode } from '../src/errors.ts'
import { statuses } from '../src/options/statuses.ts'

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8')

describe('the README', () => {
  it('names every code with its kind and status, and no other', () => {
    const rows = [...readme.matchAll(/^\| `(ERR_\w+)` \| ([\w-]+) \| (\d+|-) \|/gm)].map(
      ([, code, kind, status]) => [code, kind, status],
    )
    const told = Object.entries(kinds).map(([code, kind]) => [
      code,
      kind,
      code === 'ERR_GATEWAY_LISTEN_FAILED'
        ? '-'
        : String(statusOf(new GatewayError(code as GatewayErrorCode, ''), statuses)),
    ])
    expect(rows).toEqual(told)
  })
})
