import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Client } from '../src/client.ts'
import { eventually, expectStatus, stringOf } from '../src/expect.ts'
import type { LiveStage } from '../src/live-stage.ts'
import { openOwnStage, type OwnStage } from './own-stage.ts'

const transfers = 120

let own: OwnStage
let stage: LiveStage
let client: Client
let token: string

beforeAll(async () => {
  own = await openOwnStage()
  ;({ stage, client } = own)
}, 120_000)

afterAll(() => own.close())

/** Calls until there is an answer: what could not be served at that moment is asked again, as a careful client does. */
async function insist(app: string, method: string, input: unknown): Promise<Record<string, unknown>> {
  const { value } = await eventually(
    method,
    async () => {
      const answer = await client.rpc(app, method, input, { token, signal: AbortSignal.timeout(10_000) })
      if (answer.status >= 500) throw new Error(`${answer.status} ${JSON.stringify(answer.body)}`)
      return answer
    },
    { timeoutMs: 60_000, everyMs: 50 },
  )
  return expectStatus(value, 200, method)
}

async function kill(what: string): Promise<void> {
  const { processes, servers } = await stage.ecosystem.status()
  const pid =
    servers.find(({ name }) => name === what)?.pid ?? processes.find(({ id }) => id === what)?.pid ?? null
  if (pid === null) throw new Error(`${what} does not run: ${processes.map(({ id }) => id).join(', ')}`)
  process.kill(pid, 'SIGKILL')
  await eventually(`another ${what}`, async () => {
    const status = await stage.ecosystem.status()
    const now =
      status.servers.find(({ name }) => name === what)?.pid ??
      status.processes.find(({ id, phase }) => id === what && phase === 'ready')?.pid
    return now !== undefined && now !== null && now !== pid ? true : undefined
  })
}

describe('kill -9 in the midst of transfers', () => {
  it('loses no transfer, repeats none, and loses no event of one', async () => {
    const tenant = `crash-${randomUUID().slice(0, 8)}`
    const account = {
      tenant,
      email: 'ada@example.com',
      name: 'Ada',
      password: `correct horse ${randomUUID()}`,
    }
    const signedUp = expectStatus(await client.post('/api/auth/sign-up', account), 200, 'sign-up')
    token = stringOf(signedUp, 'accessToken')
    const ownerId = stringOf(signedUp['user'] as Record<string, unknown>, 'id')
    const open = async (): Promise<string> =>
      stringOf(await insist('ledger', 'ledger.openAccount', { currency: 'EUR', ownerId }), 'id')
    const [from, to] = [await open(), await open()]
    await insist('ledger', 'ledger.fund', { account: from, amount: '500.00', idempotencyKey: randomUUID() })

    const keys = Array.from({ length: transfers }, () => randomUUID())
    const ids = new Set<string>()
    let done = 0
    const lane = async (): Promise<void> => {
      for (let idempotencyKey = keys.pop(); idempotencyKey !== undefined; idempotencyKey = keys.pop()) {
        const made = await insist('ledger', 'ledger.transfer', { from, to, amount: '1.25', idempotencyKey })
        ids.add(stringOf(made, 'id'))
        done++
        await delay(20)
      }
    }
    const crashes = async (): Promise<void> => {
      for (const what of ['ledger/http', 'analytics/http', 'redis', 'auth/http', 'ledger/http']) {
        const before = done
        await kill(what)
        // Some transfers go through between one crash and the next.
        await eventually('a transfer', async () => (done > before || done === transfers ? true : undefined), {
          timeoutMs: 60_000,
        })
      }
    }
    await Promise.all([crashes(), ...Array.from({ length: 4 }, lane)])

    expect(ids.size).toBe(transfers)
    const { items } = (await insist('ledger', 'ledger.accounts', {})) as {
      items: { id: string; balance: string }[]
    }
    expect(Object.fromEntries(items.map(({ id, balance }) => [id, balance]))).toEqual({
      [from]: '350.00',
      [to]: '150.00',
    })
    let counted: unknown
    await eventually(
      'all events in analytics',
      async () => {
        const { items: counts } = (await insist('analytics', 'stats.counts', {})) as {
          items: { topic: string; count: number }[]
        }
        counted = counts
        return counts.find(({ topic }) => topic === 'ledger.transferred')?.count === transfers || undefined
      },
      { timeoutMs: 30_000, everyMs: 200 },
    ).catch((error: unknown) => {
      throw new Error(`Analytics counted ${JSON.stringify(counted)}`, { cause: error })
    })
  }, 120_000)
})
