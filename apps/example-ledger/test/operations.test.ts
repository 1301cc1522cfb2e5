import { randomUUID } from 'node:crypto'
import { resolve } from 'node:path'
import { isQuintetError, systemPrincipal, type Principal } from '@quintet/core'
import { attackOperations, testUser, type OperationAnswer, type OperationCase } from '@quintet/core/testing'
import { roleLosses, userChanges } from '@quintet/example-platform/events'
import { requestExport, startApp, tellRemoval, type StartedApp } from '@quintet/example-platform/testing'
import { afterAll, beforeAll, expect, it } from 'vitest'
import system from '../src/bootstrap.ts'
import http from '../src/http.ts'
import settlement from '../src/workers/settlement.ts'
import { openLedger, type LedgerFixture } from './ledger-fixture.ts'

let ledger: LedgerFixture
let app: StartedApp

beforeAll(async () => {
  ledger = await openLedger()
  app = await startApp(system, {
    baseUrl: resolve(import.meta.dirname, '../src'),
    process: 'http',
    database: ledger.database,
  })
})
afterAll(async () => {
  await app[Symbol.asyncDispose]()
  await ledger[Symbol.asyncDispose]()
})

interface Actor {
  readonly tenantId: string
  readonly userId: string
  readonly authorization?: string
}

async function actor(tenantId: string, ...roles: string[]): Promise<Actor> {
  const user = { tenantId, userId: randomUUID(), roles }
  return { ...user, ...(await app.identity.signIn(user)) }
}

async function rpc(by: Actor, name: string, input: object): Promise<OperationAnswer> {
  const response = await fetch(`${app.url()}/rpc/ledger/${name}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(by.authorization !== undefined && { authorization: by.authorization }),
    },
    body: JSON.stringify(input),
  })
  return { status: response.status, text: await response.text() }
}

async function idOf(answer: Promise<OperationAnswer>): Promise<string> {
  const { status, text } = await answer
  if (status !== 200) throw new Error(text)
  return (JSON.parse(text) as { id: string }).id
}

it('lets no one do with money, or see of it, what is not theirs, in whatever operation', async () => {
  const tenantId = randomUUID()
  const [boss, owner, member, removed] = [
    await actor(tenantId, 'owner'),
    await actor(tenantId, 'owner'),
    await actor(tenantId, 'member'),
    await actor(tenantId, 'owner'),
  ]
  await app.identity.auth.authority.revokeAll({ tenantId, userId: removed.userId })
  const actors = {
    'the member': member,
    'a colleague': await actor(tenantId, 'member'),
    'another role': await actor(tenantId, 'auditor'),
    'a removed owner': removed,
    'an owner of another tenant': await actor(randomUUID(), 'owner'),
    'no one': { tenantId, userId: randomUUID() },
  }
  const key = (): { readonly idempotencyKey: string } => ({ idempotencyKey: randomUUID() })
  await ledger.addUser(tenantId, member.userId)
  const open = (): Promise<string> =>
    idOf(rpc(member, 'openAccount', { currency: 'EUR', ownerId: member.userId }))
  const [from, to] = [await open(), await open()]
  const fund = (amount: string): Promise<string> =>
    idOf(rpc(boss, 'fund', { account: from, amount, ...key() }))
  await fund('1000')
  const move = (): Promise<string> => idOf(rpc(member, 'transfer', { from, to, amount: '1', ...key() }))
  const done = await move()
  const state = async (): Promise<unknown> => {
    const { rows } = await ledger.database.systemPool.query(
      `select (select jsonb_agg(accounts order by id) from accounts where tenant_id = $1) as accounts,
         (select jsonb_agg(transfers order by id) from transfers where tenant_id = $1) as transfers`,
      [tenantId],
    )
    return rows
  }
  /** What only owners of the tenant may do, or with `allowed` the member too. */
  const tried =
    (
      name: string,
      makeInput: () => object | Promise<object>,
      allowed: readonly string[] = [],
    ): (() => Promise<OperationCase<Actor>>) =>
    async () => {
      const input = await makeInput()
      // An answer may repeat what it was asked for.
      const secrets = [from, to, done].filter((each) => !JSON.stringify(input).includes(each))
      return { call: (by) => rpc(by, name, input), allowed, secrets, state }
    }
  const mine = ['the member']
  const cases = {
    'ledger.openAccount': tried('openAccount', () => ({ currency: 'EUR', ownerId: member.userId }), mine),
    'ledger.accounts': tried('accounts', () => ({}), mine),
    'ledger.statement': tried('statement', () => ({ account: from }), mine),
    'ledger.transfer': tried('transfer', () => ({ from, to, amount: '1', ...key() }), mine),
    'ledger.transfers': tried('transfers', () => ({}), mine),
    'ledger.entries': tried('entries', () => ({ transfer: done }), mine),
    'ledger.fund': tried('fund', () => ({ account: from, amount: '5', ...key() })),
    'ledger.approve': tried('approve', async () => ({ transfer: await fund('20000') })),
    'ledger.reject': tried('reject', async () => ({ transfer: await fund('20000') })),
    'ledger.reverse': tried('reverse', async () => ({ transfer: await move(), ...key() })),
    'job:export-from-ledger': (): OperationCase<Actor> => ({
      call: (by) =>
        answerOf(requestExport(app.jobs, 'ledger', { tenantId }, by === owner ? undefined : testUser(by))),
    }),
    'job:follow-roles-in-ledger': (): OperationCase<Actor> => ({
      call: (by) => answerOf(tellRoles(by === owner ? systemPrincipal('test', tenantId) : testUser(by))),
    }),
    'job:follow-users-in-ledger': (): OperationCase<Actor> => ({
      call: (by) => answerOf(tellAdded(by === owner ? systemPrincipal('test', tenantId) : testUser(by))),
    }),
    'job:erase-in-ledger': (): OperationCase<Actor> => ({
      // Work of the system, which no user can ask for.
      call: (by) =>
        answerOf(tellRemoval(app.jobs, 'ledger', { tenantId }, by === owner ? undefined : testUser(by))),
    }),
  }
  const processes = [http, settlement]
  expect(await attackOperations<Actor>({ processes, owner, actors, cases })).toEqual([])
}, 60_000)

it('approves of nothing whose maker was removed or demoted, before it has heard of that', async () => {
  const tenantId = randomUUID()
  const [maker, other] = [await actor(tenantId, 'owner'), await actor(tenantId, 'owner')]
  const account = await idOf(rpc(maker, 'openAccount', { currency: 'EUR', ownerId: maker.userId }))
  const fund = (): Promise<string> =>
    idOf(rpc(maker, 'fund', { account, amount: '20000', idempotencyKey: randomUUID() }))
  const [first, second] = [await fund(), await fund()]
  expect((await rpc(other, 'approve', { transfer: first })).status).toBe(200)
  await app.identity.auth.authority.revokeAll(maker)
  const answer = await rpc(other, 'approve', { transfer: second })
  expect([answer.status, JSON.parse(answer.text)]).toMatchObject([
    409,
    { code: 'ERR_LEDGER_MAKER_SIGNED_OUT' },
  ])
  // What was approved before is as it was, however often it is asked for.
  expect((await rpc(other, 'approve', { transfer: first })).status).toBe(200)
  expect((await rpc(other, 'reject', { transfer: second })).status).toBe(200)
})

async function tellAdded(principal: Principal): Promise<void> {
  const event = { id: randomUUID(), occurredAt: new Date(0).toISOString() }
  const told = { ...event, topic: 'account.user-added', data: { userId: randomUUID() } } as const
  await app.jobs.enqueue(userChanges, told, { principal })
}

async function tellRoles(principal: Principal): Promise<void> {
  const data = { userId: randomUUID(), roles: ['member'] }
  const event = { id: randomUUID(), occurredAt: new Date(0).toISOString() }
  await app.jobs.enqueue(roleLosses, { ...event, topic: 'account.roles-changed', data }, { principal })
}

/** As HTTP would say it. */
async function answerOf(call: Promise<void>): Promise<OperationAnswer> {
  try {
    await call
    return { status: 200, text: '' }
  } catch (error) {
    return { status: isQuintetError(error) && error.kind === 'forbidden' ? 403 : 500, text: String(error) }
  }
}
