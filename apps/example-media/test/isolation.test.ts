import { resolve } from 'node:path'
import { findIsolationFlaws, openAppDatabase } from '@quintet/example-platform/testing'
import { postgresUrl } from '@quintet/test-kit'
import { expect, it } from 'vitest'
import { policies } from '../src/policies.ts'

it('keeps tenants apart, whatever they try, and passes the lint', async () => {
  await using database = await openAppDatabase(
    postgresUrl(),
    resolve(import.meta.dirname, '../src/migrations'),
  )
  // The trigger keeps the row of each tenant there already.
  expect(await findIsolationFlaws(database, policies, {}, { withoutTriggers: ['objects'] })).toEqual([])
})
