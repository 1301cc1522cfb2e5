import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { QuintetError } from '@quintet/core'
import pg from 'pg'
import { describe, expect, it } from 'vitest'
import { failedStatement, mapPostgresError } from '../../src/index.ts'

const databaseError = (code: string, detail = 'Key (secret)=(4711) exists.'): Error =>
  Object.assign(new Error('duplicate key value violates "notes_pkey"'), { code, severity: 'ERROR', detail })

describe('mapPostgresError', () => {
  it.each([
    ['23505', 'ERR_RLS_CONFLICT', 'conflict'],
    ['23503', 'ERR_RLS_CONFLICT', 'conflict'],
    ['23502', 'ERR_RLS_INVALID_VALUE', 'invalid-input'],
    ['23514', 'ERR_RLS_INVALID_VALUE', 'invalid-input'],
    ['22P02', 'ERR_RLS_INVALID_VALUE', 'invalid-input'],
    ['40001', 'ERR_RLS_CONFLICT', 'conflict'],
    ['40P01', 'ERR_RLS_CONFLICT', 'conflict'],
    ['42501', 'ERR_RLS_FORBIDDEN', 'forbidden'],
    ['42601', 'ERR_RLS_DATABASE_ERROR', 'internal'],
    ['57014', 'ERR_RLS_TIMEOUT', 'timeout'],
    ['55P03', 'ERR_RLS_TIMEOUT', 'timeout'],
    ['53300', 'ERR_RLS_DATABASE_UNAVAILABLE', 'unavailable'],
    ['57P01', 'ERR_RLS_DATABASE_UNAVAILABLE', 'unavailable'],
    ['08006', 'ERR_RLS_DATABASE_UNAVAILABLE', 'unavailable'],
    ['28P01', 'ERR_RLS_DATABASE_UNAVAILABLE', 'unavailable'],
    ['XX000', 'ERR_RLS_DATABASE_ERROR', 'internal'],
  ])('maps %s to %s', (state, code, kind) => {
    const original = databaseError(state)
    const mapped = mapPostgresError(original)
    expect(mapped).toMatchObject({ code, kind, cause: original })
    expect(`${mapped?.message} ${JSON.stringify(mapped?.details ?? {})}`).not.toMatch(/notes|4711|key/)
  })

  it('says when to try again after a serialization failure', () => {
    expect(mapPostgresError(databaseError('40001'))?.retryAfter).toBeGreaterThan(0)
    expect(mapPostgresError(databaseError('23505'))?.retryAfter).toBeUndefined()
  })

  it('knows lost connections', () => {
    const refused = Object.assign(new Error('connect ECONNREFUSED'), {
      code: 'ECONNREFUSED',
      syscall: 'connect',
    })
    const lookup = Object.assign(new Error('getaddrinfo EAI_AGAIN db'), {
      code: 'EAI_AGAIN',
      syscall: 'getaddrinfo',
    })
    for (const error of [
      refused,
      lookup,
      // As Node.js gives it for a host with several addresses.
      Object.assign(new AggregateError([refused, refused]), { code: 'ECONNREFUSED' }),
      new Error('Connection terminated unexpectedly'),
      new Error('timeout exceeded when trying to connect'),
      new Error('timeout expired'),
    ]) {
      expect(mapPostgresError(error)?.kind).toBe('unavailable')
    }
    expect(mapPostgresError(new Error('Query read timeout'))?.kind).toBe('timeout')
  })

  it('leaves other errors alone', () => {
    expect(mapPostgresError(new Error('mine'))).toBeUndefined()
    expect(mapPostgresError(new QuintetError('x', { code: 'X', kind: 'conflict' }))).toBeUndefined()
    expect(mapPostgresError('text')).toBeUndefined()
    expect(failedStatement(new Error('mine'))).toBeUndefined()
  })

  it('matches the messages of the driver, which carry no code', async () => {
    const require = createRequire(import.meta.url)
    const client = await readFile(require.resolve('pg/lib/client.js'), 'utf8')
    const found = [...client.matchAll(/new Error\('([^']+)'\)/g)].map(([, text]) => text ?? '')
    for (const text of [
      'Connection terminated unexpectedly',
      'Connection terminated',
      'Query read timeout',
      'timeout expired',
      'Client was closed and is not queryable',
    ]) {
      expect(found).toContain(text)
    }
    expect(pg.Client.name).toBe('Client')
  })
})
