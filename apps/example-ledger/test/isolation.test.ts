import { resolve } from 'node:path'
import { findIsolationFlaws, openAppDatabase } from '@quintet/example-platform/testing'
import { postgresUrl } from '@quintet/test-kit'
import { expect, it } from 'vitest'
import { policies, usersPolicy } from '../src/policies.ts'

it('keeps tenants apart, whatever they try, and passes the lint', async () => {
  await using database = await openAppDatabase(
    postgresUrl(),
    resolve(import.meta.dirname, '../src/migrations'),
  )
  const currency = 'EUR'
  let code = 0
  const tables = {
    // Three letters that are free.
    currencies: { row: () => ({ code: `QA${String.fromCharCode(65 + code++)}`, minor_units: 2 }) },
    accounts: { row: ({ userId }: { userId: string }) => ({ owner_id: userId, currency, balance: 0 }) },
    transfers: { row: () => ({ kind: 'transfer', amount: 1, currency, reverses: null }) },
  }
  const functions = [
    'approve_transfer(wanted uuid)',
    'reject_transfer(wanted uuid)',
    'post_transfer(new_id uuid, wanted text, source uuid, target uuid, units numeric, request_key text, original uuid, epoch integer)',
  ]
  expect(
    await findIsolationFlaws(database, [...policies, usersPolicy], tables, {
      // They check the caller of the context themselves, so that nothing else writes balances.
      withoutTriggers: ['accounts', 'transfers', 'entries'],
      ignore: functions.map((name) => `security-definer:public.${name}`),
    }),
  ).toEqual([])
})
