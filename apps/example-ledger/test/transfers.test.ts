import { randomUUID } from 'node:crypto'
import { createLeases } from '@quintet/queue'
import { attackIdempotency } from '@quintet/rls/testing'
import { createRandom } from '@quintet/test-kit'
import { Client } from 'pg'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listAccounts, openAccount, readStatement } from '../src/accounts.ts'
import { toAmount } from '../src/money.ts'
import { reconcile } from '../src/reconciliation.ts'
import { settle } from '../src/settlement.ts'
import { approveTransfer, listEntries, listTransfers, rejectTransfer } from '../src/transfers.ts'
import { openLedger, type LedgerFixture, type Member } from './ledger-fixture.ts'

let ledger: LedgerFixture

beforeAll(async () => {
  ledger = await openLedger()
})

afterAll(async () => {
  // Whatever the tests did, the books are in order.
  const discrepancies = await reconcile(ledger.db)
  if (discrepancies.length > 0) throw new Error(JSON.stringify(discrepancies))
  await ledger[Symbol.asyncDispose]()
})

interface Pair {
  readonly owner: Member
  readonly member: Member
  readonly from: string
  readonly to: string
}

/** A tenant with an owner and a member, who has two accounts, of which the first holds this much. */
async function tenantWith(amount: string): Promise<Pair> {
  const tenantId = randomUUID()
  const [owner, member] = [ledger.member(tenantId, 'owner'), ledger.member(tenantId, 'member')]
  const [from, to] = [await member.open(), await member.open()]
  if (amount !== '0') await owner.post({ kind: 'fund', to: from, amount })
  return { owner, member, from, to }
}

describe('postTransfer', () => {
  it('counts a key once, and gives it to no one else', async () => {
    const { member, from, to } = await tenantWith('100')
    const colleague = ledger.member(member.tenantId, 'member')
    const stranger = ledger.member(randomUUID(), 'owner')
    let cents = 0
    const flaws = await attackIdempotency({
      call: async (by: Member, key, amount: string) => {
        const { replayed: _, ...made } = await by.post({ kind: 'transfer', from, to, amount }, key)
        return made
      },
      owner: member,
      others: { colleague, stranger },
      payload: () => `0.${String(++cents).padStart(2, '0')}`,
    })
    expect(flaws).toEqual([])
  })

  it('announces a transfer when it is new, and not when its key comes again', async () => {
    const { member, from, to } = await tenantWith('1')
    const key = randomUUID()
    const made = await Promise.all(
      Array.from({ length: 6 }, () => member.post({ kind: 'transfer', from, to, amount: '0.30' }, key)),
    )
    const [id] = new Set(made.map((each) => each.id))
    expect(ledger.announced.filter((each) => each === id)).toHaveLength(1)
    expect([await member.balance(from), await member.balance(to)]).toEqual(['70', '30'])
  })

  it('never overdraws under concurrency, and money neither appears nor vanishes', async () => {
    const { member, from, to } = await tenantWith('0.50')
    const outcomes = await Promise.allSettled([
      ...Array.from({ length: 30 }, () => member.post({ kind: 'transfer', from, to, amount: '0.07' })),
      ...Array.from({ length: 10 }, () =>
        member.post({ kind: 'transfer', from: to, to: from, amount: '0.03' }),
      ),
    ])
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected')
        expect(outcome.reason).toMatchObject({ code: 'ERR_LEDGER_OVERDRAFT', kind: 'conflict' })
    }
    const balances = [Number(await member.balance(from)), Number(await member.balance(to))]
    expect(Math.min(...balances)).toBeGreaterThanOrEqual(0)
    expect(balances.reduce((sum, balance) => sum + balance, 0)).toBe(50)
  })

  it.each([
    ['JPY', '5', '0.5', '5'],
    ['EUR', '0.05', '0.005', '5'],
    ['KWD', '0.005', '0.0005', '5'],
  ])('holds amounts in %s to its places', async (currency, amount, tooFine, units) => {
    const owner = ledger.member(randomUUID(), 'owner')
    const account = await owner.open(currency)
    await expect(owner.post({ kind: 'fund', to: account, amount: tooFine })).rejects.toMatchObject({
      code: 'ERR_LEDGER_BAD_AMOUNT',
      kind: 'invalid-input',
    })
    await owner.post({ kind: 'fund', to: account, amount })
    expect(await owner.balance(account)).toBe(units)
  })

  it.each([
    ['JPY', 0],
    ['EUR', 2],
    ['KWD', 3],
  ])('counts amounts in %s exactly, in all 13 digits and 4 places', async (currency, places) => {
    const owner = ledger.member(randomUUID(), 'owner')
    const account = await owner.open(currency)
    const random = createRandom(places)
    const digits = (length: number): string =>
      Array.from({ length }, () => [0, 0, 9, 4, random(10)][random(5)]).join('')
    const amounts = ['1000000000000.004', '9999999999999.9999', '1000000000000.0099', '0.0001']
    while (amounts.length < 120) {
      const [whole, fraction] = [`${1 + random(9)}${digits(random(13))}`, digits(random(5))]
      amounts.push(fraction === '' ? whole : `${whole}.${fraction}`)
    }
    for (const amount of amounts) {
      const [whole = '', fraction = ''] = amount.split('.')
      const key = randomUUID()
      const fund = (as: string): Promise<unknown> =>
        owner.post({ kind: 'fund', to: account, amount: as }, key)
      const tenThousandths = BigInt(whole + fraction.padEnd(4, '0'))
      const unit = 10n ** BigInt(4 - places)
      if (tenThousandths % unit !== 0n) {
        await expect(fund(amount), amount).rejects.toMatchObject({ code: 'ERR_LEDGER_BAD_AMOUNT' })
        continue
      }
      const units = tenThousandths / unit
      if (units > 10n ** 15n) {
        await expect(fund(amount), amount).rejects.toMatchObject({ code: 'ERR_LEDGER_BAD_AMOUNT' })
        continue
      }
      expect(await fund(amount), amount).toMatchObject({ amount: String(units) })
      await expect(fund(toAmount(units + 1n, places)), amount).rejects.toMatchObject({
        code: units === 10n ** 15n ? 'ERR_LEDGER_BAD_AMOUNT' : 'ERR_LEDGER_KEY_REUSED',
      })
    }
  })

  it('refuses what makes no sense', async () => {
    const { owner, member, from, to } = await tenantWith('1')
    const dollars = await member.open('USD')
    const transfer = { kind: 'transfer', from, to, amount: '0.10' } as const
    const code = (name: string): object => ({ code: `ERR_LEDGER_${name}` })
    await expect(member.post({ ...transfer, to: dollars })).rejects.toMatchObject(code('CURRENCIES_DIFFER'))
    await expect(member.post({ ...transfer, to: from })).rejects.toMatchObject(code('SAME_ACCOUNT'))
    await expect(member.post({ ...transfer, to: randomUUID() })).rejects.toMatchObject(code('NO_ACCOUNT'))
    await expect(member.open('XXX')).rejects.toMatchObject(code('NO_CURRENCY'))
    const equity = await owner.as(async () => {
      const accounts = ledger.db.selectFrom('accounts').select('id').where('owner_id', 'is', null)
      return (await accounts.executeTakeFirstOrThrow()).id
    })
    await expect(member.post({ ...transfer, to: equity })).rejects.toMatchObject(code('NO_ACCOUNT'))
    await expect(owner.post({ ...transfer, from: equity })).rejects.toMatchObject(code('NOT_YOUR_ACCOUNT'))
  })

  it('moves money of others for an owner of the tenant alone, and of other tenants for no one', async () => {
    const { owner, from, to, member } = await tenantWith('1')
    const transfer = { kind: 'transfer', from, to, amount: '0.10' } as const
    await expect(ledger.member(member.tenantId, 'member').post(transfer)).rejects.toMatchObject({
      code: 'ERR_LEDGER_NOT_YOUR_ACCOUNT',
      kind: 'forbidden',
    })
    await expect(member.post({ kind: 'fund', to: from, amount: '1' })).rejects.toMatchObject({
      code: 'ERR_LEDGER_NOT_OWNER',
    })
    await expect(ledger.member(randomUUID(), 'owner').post(transfer)).rejects.toMatchObject({
      code: 'ERR_LEDGER_NO_ACCOUNT',
      kind: 'not-found',
    })
    await expect(owner.post(transfer)).resolves.toMatchObject({ status: 'posted' })
  })
})

describe('a reversal', () => {
  it('takes a transfer back once, for an owner of the tenant, and is itself not taken back', async () => {
    const { owner, member, from, to } = await tenantWith('1')
    const { id } = await member.post({ kind: 'transfer', from, to, amount: '0.40' })
    await expect(member.post({ kind: 'reversal', reverses: id })).rejects.toMatchObject({ kind: 'forbidden' })
    const key = randomUUID()
    const reversal = await owner.post({ kind: 'reversal', reverses: id }, key)
    expect(reversal).toMatchObject({ from_account: to, to_account: from, amount: '40', reverses: id })
    expect((await owner.post({ kind: 'reversal', reverses: id }, key)).id).toBe(reversal.id)
    for (const reverses of [id, reversal.id])
      await expect(owner.post({ kind: 'reversal', reverses })).rejects.toMatchObject({
        code: 'ERR_LEDGER_NOT_REVERSIBLE',
      })
    expect([await member.balance(from), await member.balance(to)]).toEqual(['100', '0'])
  })
})

describe('a large amount that is brought in', () => {
  it('waits for another owner', async () => {
    const { owner, member, from } = await tenantWith('0')
    const second = ledger.member(owner.tenantId, 'owner')
    const approve = (by: Member, id: string): Promise<unknown> =>
      by.as(() => approveTransfer(ledger.db, id, async (_, made) => void ledger.announced.push(made.id)))
    const { id, status } = await owner.post({ kind: 'fund', to: from, amount: '10000.01' })
    expect([status, await member.balance(from), ledger.announced.includes(id)]).toEqual([
      'awaiting',
      '0',
      false,
    ])
    await expect(approve(owner, id)).rejects.toMatchObject({
      code: 'ERR_LEDGER_FOUR_EYES',
      kind: 'forbidden',
    })
    await expect(approve(member, id)).rejects.toMatchObject({ code: 'ERR_LEDGER_NOT_OWNER' })
    await expect(approve(ledger.member(randomUUID(), 'owner'), id)).rejects.toMatchObject({
      kind: 'not-found',
    })
    await expect(owner.post({ kind: 'reversal', reverses: id })).rejects.toMatchObject({
      code: 'ERR_LEDGER_NOT_REVERSIBLE',
    })
    const awaiting = await second.as(() => listTransfers(ledger.db, 'awaiting', { limit: 5 }))
    expect(awaiting.items.map((each) => each.id)).toEqual([id])
    await Promise.all(Array.from({ length: 4 }, () => approve(second, id)))
    expect(await member.balance(from)).toBe('1000001')
    expect(ledger.announced.filter((each) => each === id)).toHaveLength(1)
  })
})

describe('what owners bring in', () => {
  const reject = (by: Member, id: string): Promise<{ readonly status: string }> =>
    by.as(() => rejectTransfer(ledger.db, id))

  it('waits for another owner when it is large together, whoever of them brings it in', async () => {
    const { owner, member, from } = await tenantWith('0')
    const second = ledger.member(owner.tenantId, 'owner')
    const fund = async (by: Member, amount: string, to = from): Promise<string> =>
      (await by.post({ kind: 'fund', to, amount })).status
    const statuses = await Promise.all([owner, second, owner, second].map((by) => fund(by, '3000')))
    expect(statuses.toSorted()).toEqual(['awaiting', 'posted', 'posted', 'posted'])
    expect([await fund(owner, '1000'), await fund(second, '0.01')]).toEqual(['posted', 'awaiting'])
    // Another currency, and another tenant, have a limit of their own.
    expect(await fund(owner, '10000', await member.open('USD'))).toBe('posted')
    expect(await member.balance(from)).toBe('1000000')
    const login = new Client({ connectionString: ledger.database.ownerUrl })
    await login.connect()
    await login.query("update transfers set created_at = now() - interval '25 hours' where tenant_id = $1", [
      owner.tenantId,
    ])
    await login.end()
    expect(await fund(owner, '10000')).toBe('posted')
  })

  it('is rejected by an owner, or withdrawn by its maker, and is not posted then', async () => {
    const { owner, member, from } = await tenantWith('0')
    const second = ledger.member(owner.tenantId, 'owner')
    const stranger = ledger.member(randomUUID(), 'owner')
    const refused = { code: 'ERR_LEDGER_NOT_AWAITING', kind: 'conflict' }
    for (const by of [owner, second]) {
      const { id } = await owner.post({ kind: 'fund', to: from, amount: '20000' })
      await expect(reject(member, id)).rejects.toMatchObject({ code: 'ERR_LEDGER_NOT_OWNER' })
      await expect(reject(stranger, id)).rejects.toMatchObject({ code: 'ERR_LEDGER_NO_TRANSFER' })
      expect([(await reject(by, id)).status, (await reject(by, id)).status]).toEqual(['rejected', 'rejected'])
      const approve = second.as(() => approveTransfer(ledger.db, id, async () => undefined))
      await expect(approve).rejects.toMatchObject(refused)
      await expect(owner.post({ kind: 'reversal', reverses: id })).rejects.toMatchObject({
        code: 'ERR_LEDGER_NOT_REVERSIBLE',
      })
    }
    const { id } = await owner.post({ kind: 'fund', to: from, amount: '1' })
    await expect(reject(owner, id)).rejects.toMatchObject(refused)
    expect(await member.balance(from)).toBe('100')
  })
})

describe('within a tenant', () => {
  it('shows members what is theirs, and owners all', async () => {
    const { owner, member, from, to } = await tenantWith('1')
    const colleague = ledger.member(owner.tenantId, 'member')
    const theirs = await colleague.open()
    const { id } = await member.post({ kind: 'transfer', from, to: theirs, amount: '0.40' })
    const accounts = (by: Member): Promise<readonly string[]> =>
      by.as(async () => (await listAccounts(ledger.db, { limit: 9 })).items.map((each) => each.id))
    expect(await accounts(member)).toEqual([from, to])
    expect(await accounts(colleague)).toEqual([theirs])
    expect(await accounts(owner)).toEqual([from, to, theirs])
    const entries = (by: Member): Promise<readonly string[]> =>
      by.as(async () => (await listEntries(ledger.db, id)).map((each) => each.amount))
    expect(await entries(owner)).toEqual(['-40', '40'])
    expect(await entries(member)).toEqual(['-40'])
    expect(await entries(colleague)).toEqual(['40'])
    const outsider = ledger.member(owner.tenantId, 'member')
    await expect(entries(outsider)).rejects.toMatchObject({ code: 'ERR_LEDGER_NO_TRANSFER' })
    const statement = (by: Member): Promise<unknown> =>
      by.as(async () => {
        const { items } = await readStatement(ledger.db, theirs, { limit: 9 })
        return items.map((each) => [each.amount, each.balance_after])
      })
    expect(await statement(colleague)).toEqual([['40', '40']])
    await expect(statement(member)).rejects.toMatchObject({ code: 'ERR_LEDGER_NO_ACCOUNT' })
  })

  it('opens accounts for oneself, once a key, whatever the code does', async () => {
    const { owner, member } = await tenantWith('0')
    const forOwner = { tenantId: member.tenantId, ownerId: owner.userId, currency: 'EUR' }
    const unchecked = { caller: member, authorize: () => undefined }
    await ledger.addUser(owner.tenantId, owner.userId)
    await expect(member.as(() => openAccount(ledger.db, forOwner, unchecked))).rejects.toMatchObject({
      code: '42501',
    })
    const idempotencyKey = randomUUID()
    const opened = await Promise.all(
      Array.from({ length: 4 }, () =>
        owner.as(() => openAccount(ledger.db, forOwner, { ...unchecked, caller: owner, idempotencyKey })),
      ),
    )
    expect(new Set(opened.map(({ id }) => id)).size).toBe(1)
  })

  it('gives accounts and statements page by page', async () => {
    const { member, from, to } = await tenantWith('1')
    for (const amount of ['0.10', '0.20', '0.30']) await member.post({ kind: 'transfer', from, to, amount })
    const pages: string[][] = []
    let after: string | undefined
    do {
      const page = await member.as(() => readStatement(ledger.db, from, { limit: 3, after }))
      pages.push(page.items.map((each) => `${each.amount} ${each.balance_after}`))
      after = page.next ?? undefined
    } while (after !== undefined)
    expect(pages).toEqual([['-30 40', '-20 70', '-10 90'], ['100 100']])
  })
})

describe('what is posted', () => {
  it.each([
    ['balances', 'update accounts set balance = balance + 1'],
    ['entries', 'update entries set amount = 2 * amount'],
    ['entries', 'delete from entries'],
    ['transfers', "update transfers set amount = 1, status = 'settled' where status = 'posted'"],
    ['transfers', 'delete from transfers'],
  ])('stays: %s are written by the functions of the ledger alone (%#)', async (_, statement) => {
    const { member, owner, from, to } = await tenantWith('1')
    await member.post({ kind: 'transfer', from, to, amount: '0.40' })
    const refused = { code: '42501' }
    await expect(ledger.database.systemPool.query(statement)).rejects.toMatchObject(refused)
    await expect(owner.as(() => ledger.database.pool.query(statement))).rejects.toMatchObject(refused)
  })

  it('sums to zero when it is committed, whatever the owner of the tables writes', async () => {
    const { member, from, to } = await tenantWith('1')
    const { id } = await member.post({ kind: 'transfer', from, to, amount: '0.40' })
    const owner = new Client({ connectionString: ledger.database.ownerUrl })
    await owner.connect()
    try {
      const forged = `insert into entries (tenant_id, transfer_id, account_id, amount, balance_after) values ($1, $2, $3, 5, 0)`
      await expect(owner.query(forged, [member.tenantId, id, from])).rejects.toMatchObject({ code: '23514' })
    } finally {
      await owner.end()
    }
  })

  it('is found when it does not add up', async () => {
    await using broken = await openLedger()
    const owner = broken.member(randomUUID(), 'owner')
    const account = await owner.open()
    await owner.post({ kind: 'fund', to: account, amount: '1' })
    expect(await reconcile(broken.db)).toEqual([])
    const login = new Client({ connectionString: broken.database.ownerUrl })
    await login.connect()
    await login.query('update accounts set balance = balance + 1 where id = $1', [account])
    await login.end()
    expect(await reconcile(broken.db)).toEqual([
      { what: 'account', id: account },
      { what: 'currency', id: `${owner.tenantId} EUR` },
    ])
  })
})

describe('settle', () => {
  it('writes only for the holder of the lease', async () => {
    const { member, from, to } = await tenantWith('1')
    await member.post({ kind: 'transfer', from, to, amount: '0.01' })
    const { db, database } = ledger
    const name = `settlement-${randomUUID()}`
    const slow = createLeases({ pool: database.systemPool, holder: 'slow', duration: '1s' })
    const quick = createLeases({ pool: database.systemPool, holder: 'quick', duration: '30s' })
    const lost = await slow.acquire(name)
    if (!lost) throw new Error('The lease was not free.')
    await slow.release(lost)
    const held = await quick.acquire(name)
    if (!held) throw new Error('The lease was not free after its release.')
    await expect(settle(db, slow, lost)).rejects.toMatchObject({ code: 'ERR_QUEUE_LEASE_LOST' })
    expect(await settle(db, quick, held)).toBeGreaterThanOrEqual(2)
    expect(held.epoch).toBeGreaterThan(lost.epoch)
  })
})
