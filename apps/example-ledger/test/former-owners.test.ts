import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { systemPrincipal } from '@quintet/core'
import { roleLosses } from '@quintet/example-platform/events'
import { startApp } from '@quintet/example-platform/testing'
import { until } from '@quintet/test-kit'
import { expect, it } from 'vitest'
import system from '../src/bootstrap.ts'
import { approveTransfer } from '../src/transfers.ts'
import { openLedger } from './ledger-fixture.ts'

it('rejects what awaits an approval when its maker is an owner no more, and of no one else', async () => {
  await using ledger = await openLedger()
  await using app = await startApp(system, {
    baseUrl: resolve(import.meta.dirname, '../src'),
    process: 'settlement',
    database: ledger.database,
  })
  const second = ledger.member(randomUUID(), 'owner')
  const { tenantId } = second
  const account = await second.open()
  const makers = Array.from({ length: 4 }, () => ledger.member(tenantId, 'owner'))
  const transfers: string[] = []
  for (const maker of makers)
    transfers.push((await maker.post({ kind: 'fund', to: account, amount: '20000' })).id)
  const [promoted, demoted, removed] = makers.map(({ userId }) => userId)
  const event = { occurredAt: new Date(0).toISOString() }
  for (const told of [
    { topic: 'account.roles-changed', data: { userId: promoted, roles: ['member', 'owner'] } },
    { topic: 'account.roles-changed', data: { userId: demoted, roles: ['member'] } },
    { topic: 'account.user-removed', data: { userId: removed } },
  ] as const)
    await app.jobs.enqueue(roleLosses, { ...event, id: randomUUID(), ...told } as never, {
      principal: systemPrincipal('test', tenantId),
    })
  const statuses = async (): Promise<readonly string[]> => {
    const { rows } = await ledger.database.systemPool.query<{ id: string; status: string }>(
      'select id, status from transfers where tenant_id = $1',
      [tenantId],
    )
    return transfers.map((id) => rows.find((row) => row.id === id)?.status ?? 'missing')
  }
  await until(async () => (await statuses()).filter((status) => status === 'rejected').length === 2)
  expect(await statuses()).toEqual(['awaiting', 'rejected', 'rejected', 'awaiting'])
  await expect(
    second.as(() => approveTransfer(ledger.db, transfers[1] ?? '', async () => undefined)),
  ).rejects.toMatchObject({ code: 'ERR_LEDGER_NOT_AWAITING' })
  expect(await second.balance(account)).toBe('0')
})
