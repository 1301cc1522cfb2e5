import { databaseRoles } from '@quintet/rls'
import { describe, expect, it } from 'vitest'
import { assertDatabaseNames, databaseName, maxDatabaseName } from '../../src/plan/database-name.ts'

describe('assertDatabaseNames', () => {
  const longest = 'a'.repeat(maxDatabaseName - 'p_'.length)

  it('takes what the roles of a database can be named after, and refuses one more', () => {
    expect(() => assertDatabaseNames('p', [longest])).not.toThrow()
    expect(() => databaseRoles(databaseName({ project: 'p' }, longest))).not.toThrow()
    expect(() => assertDatabaseNames('p', ['b', `${longest}a`])).toThrow(
      /^apps\.a+: its database would be named p_a+, 52 characters/,
    )
    expect(() => databaseRoles(databaseName({ project: 'p' }, `${longest}a`))).toThrow()
  })
})
