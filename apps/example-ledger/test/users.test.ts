import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { systemPrincipal } from '@quintet/core'
import { userChanges } from '@quintet/example-platform/events'
import { startApp, tellRemoval } from '@quintet/example-platform/testing'
import { until } from '@quintet/test-kit'
import { expect, it } from 'vitest'
import { openAccount } from '../src/accounts.ts'
import system from '../src/bootstrap.ts'
import { openLedger } from './ledger-fixture.ts'

it('opens an account for oneself, and by an owner for users of the tenant alone', async () => {
  await using ledger = await openLedger()
  await using app = await startApp(system, {
    baseUrl: resolve(import.meta.dirname, '../src'),
    process: 'settlement',
    database: ledger.database,
  })
  const [tenantId, other] = [randomUUID(), randomUUID()]
  const owner = ledger.member(tenantId, 'owner')
  const tell = (of: string, topic: 'account.user-added' | 'account.user-removed', userId: string) =>
    app.jobs.enqueue(
      userChanges,
      { id: randomUUID(), occurredAt: new Date(0).toISOString(), topic, data: { userId } },
      { principal: systemPrincipal('test', of) },
    )
  const open = (ownerId: string): Promise<string> =>
    owner.as(async () => {
      const opening = { caller: owner, authorize: () => undefined }
      return (await openAccount(ledger.db, { tenantId, ownerId, currency: 'EUR' }, opening)).id
    })
  const known = async (): Promise<number> => {
    const { rows } = await ledger.database.systemPool.query('select 1 from users')
    return rows.length
  }
  const [member, removed, late, stranger] = Array.from({ length: 4 }, () => randomUUID()) as [
    ...[string, string, string, string],
  ]
  await tell(tenantId, 'account.user-added', member)
  await tell(tenantId, 'account.user-added', removed)
  await tell(other, 'account.user-added', stranger)
  await tell(tenantId, 'account.user-removed', late)
  await until(async () => (await known()) === 4)
  await tell(tenantId, 'account.user-removed', removed)
  // What comes late, and again, brings no one back.
  await tell(tenantId, 'account.user-added', late)
  await until(async () => (await app.jobs.counts(userChanges)).completed === 6)

  expect([await open(owner.userId), await open(member)]).toHaveLength(2)
  for (const wrong of [removed, late, stranger, randomUUID()])
    await expect(open(wrong)).rejects.toMatchObject({ code: 'ERR_LEDGER_NO_USER', kind: 'not-found' })
  await tellRemoval(app.jobs, 'ledger', { tenantId })
  await until(async () => (await known()) === 1)
})
