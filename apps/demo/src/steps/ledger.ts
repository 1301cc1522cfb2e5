import { randomUUID } from 'node:crypto'
import { eventually, expectStatus, expectThat, stringOf } from '../expect.ts'
import type { Stage } from '../stage.ts'
import type { StepRunner } from '../step.ts'
import type { Listener } from './realtime.ts'
import type { Cast } from './sign-up.ts'

export async function moveMoney(_: Stage, steps: StepRunner, cast: Cast, listener: Listener): Promise<void> {
  const { client, ada, alan, grace } = cast
  const options = { token: ada.accessToken }
  const call = async (method: string, input: unknown, status = 200): Promise<Record<string, unknown>> =>
    expectStatus(await client.rpc('ledger', `ledger.${method}`, input, options), status, method)

  const accounts = await steps.step('open two accounts and fund one', async () => {
    const from = stringOf(await call('openAccount', { currency: 'EUR', ownerId: ada.userId }), 'id')
    // The ledger hears of Alan by an event.
    const { value: opened } = await eventually('an account of Alan', async () => {
      const asked = { currency: 'EUR', ownerId: alan.userId }
      const answer = await client.rpc('ledger', 'ledger.openAccount', asked, options)
      return answer.status === 404 ? undefined : expectStatus(answer, 200, 'openAccount')
    })
    const to = stringOf(opened, 'id')
    await call('fund', { account: from, amount: '100.00', idempotencyKey: randomUUID() })
    return { detail: 'Ada 100.00 EUR, Alan 0.00 EUR', value: { from, to } }
  })

  const transfer = { from: accounts.from, to: accounts.to, amount: '30.00', idempotencyKey: randomUUID() }
  const first = await steps.step('transfer 30.00 EUR', async () => {
    const body = await call('transfer', transfer)
    return { detail: `transfer ${stringOf(body, 'id').slice(0, 8)}`, value: stringOf(body, 'id') }
  })
  await steps.check('the same transfer again counts once', async () => {
    const repeats = await Promise.all(Array.from({ length: 8 }, () => call('transfer', transfer)))
    expectThat(
      repeats.every((body) => body['id'] === first),
      'a repeat made a transfer of its own',
    )
    const other = await client.rpc('ledger', 'ledger.transfer', { ...transfer, amount: '31.00' }, options)
    expectStatus(other, 409, 'the same key for another transfer')
    const balances = await balancesOf(call, accounts)
    expectThat(balances === '70.00 and 30.00', `balances are ${balances}`)
    return `8 repeats at once, one transfer; balances ${balances}`
  })
  await steps.check('an overdraft is refused', async () => {
    const body = await call('transfer', { ...transfer, amount: '70.01', idempotencyKey: randomUUID() }, 409)
    const balances = await balancesOf(call, accounts)
    expectThat(balances === '70.00 and 30.00', `balances are ${balances}`)
    return `409 ${String(body['code'])}; balances ${balances}`
  })
  await steps.check('every transfer sums to zero', async () => {
    const body = await call('entries', { transfer: first })
    const entries = body['items'] as { amount: string }[]
    const sum = entries.reduce((total, entry) => total + Math.round(Number(entry.amount) * 100), 0)
    expectThat(entries.length === 2 && sum === 0, `${entries.length} entries, sum ${sum}`)
    return '2 entries, sum 0.00'
  })
  await steps.check('the other tenant cannot move this money', async () => {
    const theirs = { ...transfer, idempotencyKey: randomUUID() }
    expectStatus(
      await client.rpc('ledger', 'ledger.transfer', theirs, { token: grace.accessToken }),
      404,
      'transfer',
    )
    return '404, as for an account that does not exist'
  })
  await steps.check('the WebSocket client receives the ledger event', async () => {
    const event = await listener.next('ledger.transferred', (data) => data['transferId'] === first)
    return `${event.topic} ${String(event.data['amount'])} ${String(event.data['currency'])}`
  })
}

async function balancesOf(
  call: (method: string, input: unknown) => Promise<Record<string, unknown>>,
  accounts: { readonly from: string; readonly to: string },
): Promise<string> {
  const body = await call('accounts', {})
  const items = body['items'] as { id: string; balance: string }[]
  const balance = (id: string): string => items.find((item) => item.id === id)?.balance ?? 'missing'
  return `${balance(accounts.from)} and ${balance(accounts.to)}`
}
