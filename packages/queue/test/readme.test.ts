import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import * as api from '../src/index.ts'
import { QueueError, type QueueErrorCode } from '../src/index.ts'

const root = new URL('../', import.meta.url)
const readme = await readFile(new URL('README.md', root), 'utf8')

/** Every code once: the compiler holds the keys against the union. */
const codes: Record<QueueErrorCode, true> = {
  ERR_QUEUE_BAD_ENVELOPE: true,
  ERR_QUEUE_BAD_NAME: true,
  ERR_QUEUE_BAD_PAYLOAD: true,
  ERR_QUEUE_CLOSED: true,
  ERR_QUEUE_DELIVERY_TIMEOUT: true,
  ERR_QUEUE_FORBIDDEN: true,
  ERR_QUEUE_GIVE_UP: true,
  ERR_QUEUE_LEASE_LOST: true,
  ERR_QUEUE_LOCK_LOST: true,
  ERR_QUEUE_NO_DEAD_LETTER: true,
  ERR_QUEUE_PAYLOAD_TOO_LARGE: true,
  ERR_QUEUE_UNAVAILABLE: true,
}

describe('README', () => {
  it('lists every error code with its kind, and no other', () => {
    const rows = [...readme.matchAll(/^\| `(ERR_\w+)` +\| ([\w-]+) +\|/gm)].map(([, code, kind]) => [
      code,
      kind,
    ])
    expect(rows).toEqual(
      (Object.keys(codes) as QueueErrorCode[]).map((code) => [code, new QueueError(code, '').kind]),
    )
  })

  it('states the defaults that the code has', () => {
    const rows = new Map(
      [...readme.matchAll(/^\| `([\w.]+)` +\| `([^`]+)` +\|/gm)].map(([, name, value]) => [name, value]),
    )
    const defaults = {
      defineJob: api.jobDefaults,
      createQueue: api.queueDefaults,
      worker: api.workerDefaults,
      relay: api.relayDefaults,
      createLeases: api.leasesDefaults,
      recoverStale: api.recoverStaleDefaults,
    }
    const expected = Object.entries(defaults).flatMap(([factory, values]) =>
      Object.entries(values).map(([name, value]) => [`${factory}.${name}`, show(value)] as const),
    )
    expect(rows).toEqual(new Map(expected))
  })
})

function show(value: unknown): string {
  if (typeof value === 'object' && value !== null) {
    return `{ ${Object.entries(value)
      .map(([key, each]) => `${key}: ${show(each)}`)
      .join(', ')} }`
  }
  return typeof value === 'string' ? `'${value}'` : String(value)
}
