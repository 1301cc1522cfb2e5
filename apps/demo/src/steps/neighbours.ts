import { randomBytes, randomUUID } from 'node:crypto'
import sharp from 'sharp'
import { expectStatus, expectThat, milliseconds, stringOf } from '../expect.ts'
import type { Stage } from '../stage.ts'
import type { StepRunner } from '../step.ts'
import type { Cast, Person } from './sign-up.ts'

/** How many requests the noisy tenant keeps going at once. */
const noise = 64
/** How many requests of the other tenant are timed, alone and beside the noise. */
const timed = 40
/** Beside the noise they take at most so many times as long as alone, or so many milliseconds where that is more. */
const budgets = { median: { ratio: 10, floor: 1_000 }, slowest: { ratio: 20, floor: 4_000 } } as const

/** One tenant asks for all that costs, as fast as it can; another one goes on working. */
export async function standNoisyNeighbour(_: Stage, steps: StepRunner, cast: Cast): Promise<void> {
  await steps.check('a tenant that attacks slows down itself', async () => {
    const attacks = await prepareAttacks(cast)
    const alone = await timeRequests(cast, cast.ada)
    const attack = new AbortController()
    const answers = new Map<number, number>()
    const attackers = Array.from({ length: noise }, async (_, index) => {
      while (!attack.signal.aborted) {
        const status = await attacks[index % attacks.length]?.(attack.signal).catch(() => 0)
        if (!attack.signal.aborted) answers.set(status ?? 0, (answers.get(status ?? 0) ?? 0) + 1)
      }
    })
    const beside = await timeRequests(cast, cast.ada).finally(async () => {
      attack.abort()
      await Promise.all(attackers)
    })
    const figures = (['median', 'slowest'] as const).map((which) => {
      const { ratio, floor } = budgets[which]
      const figure = `${which} ${milliseconds(alone[which])} alone, ${milliseconds(beside[which])} beside`
      const allowed = Math.max(alone[which] * ratio, floor)
      expectThat(beside[which] <= allowed, `${figure}; allowed are ${milliseconds(allowed)}`)
      return figure
    })
    const told = [...answers].map(([status, count]) => `${count} times ${status || 'none'}`).join(', ')
    return `the other tenant: ${figures.join('; ')} ${noise} requests at once (answered: ${told})`
  })
}

type Attack = (signal: AbortSignal) => Promise<number>

/** Transfers that wait for one row, long lists, and images of the costliest kind. */
async function prepareAttacks({ client, grace }: Cast): Promise<readonly Attack[]> {
  const token = grace.accessToken
  const call = async (method: string, input: unknown): Promise<Record<string, unknown>> =>
    expectStatus(await client.rpc('ledger', `ledger.${method}`, input, { token }), 200, method)
  const open = async (): Promise<string> =>
    stringOf(await call('openAccount', { currency: 'EUR', ownerId: grace.userId }), 'id')
  const [from, to] = [await open(), await open()]
  await call('fund', { account: from, amount: '1000.00', idempotencyKey: randomUUID() })
  const pixels = randomBytes(1_600 * 1_600 * 3)
  const image = await sharp(pixels, { raw: { width: 1_600, height: 1_600, channels: 3 } })
    .jpeg()
    .toBuffer()
  const stored = await client.upload('/api/media/objects?name=noise.jpg', image, 'image/jpeg', { token })
  const id = stringOf(expectStatus(stored, 201, 'upload'), 'id')
  const rpc =
    (app: string, method: string, makeInput: () => unknown): Attack =>
    async (signal) =>
      (await client.rpc(app, method, makeInput(), { token, signal })).status
  let quality = 0
  return [
    rpc('ledger', 'ledger.transfer', () => ({ from, to, amount: '0.01', idempotencyKey: randomUUID() })),
    rpc('ledger', 'ledger.accounts', () => ({ limit: 500 })),
    rpc('media', 'objects.list', () => ({ limit: 100 })),
    async (signal) => {
      const path = `/api/media/render/image/${id}?format=avif&quality=${1 + (quality++ % 100)}`
      return (await client.getBytes(path, { token, signal })).status
    },
  ]
}

interface Times {
  readonly median: number
  readonly slowest: number
}

/** How long it takes to answer what a person asks, one after another; each must be answered. */
async function timeRequests({ client }: Cast, { accessToken: token }: Person): Promise<Times> {
  const times: number[] = []
  for (let index = 0; index < timed; index++) {
    const begin = performance.now()
    const [app, method] =
      index % 2 === 0 ? (['ledger', 'ledger.accounts'] as const) : (['media', 'objects.list'] as const)
    expectStatus(await client.rpc(app, method, {}, { token }), 200, method)
    times.push(performance.now() - begin)
  }
  const sorted = times.toSorted((a, b) => a - b)
  return { median: sorted[timed / 2] ?? Infinity, slowest: sorted.at(-1) ?? Infinity }
}
