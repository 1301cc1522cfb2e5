import { eventually, expectStatus, expectThat, milliseconds } from '../expect.ts'
import type { Stage } from '../stage.ts'
import type { StepRunner } from '../step.ts'
import type { Cast } from './sign-up.ts'

export async function checkAnalytics(_: Stage, steps: StepRunner, cast: Cast): Promise<void> {
  const { client, ada, grace } = cast
  const wanted = {
    'media.object-stored': 2,
    'media.thumbnail-made': 1,
    'ledger.transferred': 1,
    'ledger.funded': 1,
  }

  await steps.check('analytics shows the counts', async () => {
    const { value, afterMs } = await eventually('the counts', async () => {
      const counts = await countsOf(client, ada.accessToken)
      return Object.entries(wanted).every(([topic, count]) => counts[topic] === count) ? counts : undefined
    })
    return `${Object.entries(value)
      .map(([topic, count]) => `${topic} ${count}`)
      .join(', ')}; complete after ${milliseconds(afterMs)}`
  })
  await steps.check('the other tenant has counts of its own', async () => {
    const counts = await countsOf(client, grace.accessToken)
    expectThat(Object.keys(counts).length === 0, `Grace sees ${JSON.stringify(counts)}`)
    return 'Grace counts nothing'
  })
}

async function countsOf(client: Cast['client'], token: string): Promise<Record<string, number>> {
  const body = expectStatus(await client.rpc('analytics', 'stats.counts', {}, { token }), 200, 'counts')
  const items = body['items'] as { topic: string; count: number }[]
  return Object.fromEntries(items.map((item) => [item.topic, item.count]))
}
