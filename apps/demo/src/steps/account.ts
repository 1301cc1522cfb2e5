import { eventually, expectStatus, expectThat, milliseconds, stringOf } from '../expect.ts'
import type { StepRunner } from '../step.ts'
import type { Cast } from './sign-up.ts'

/** Ada gets what all apps keep of her tenant, and no one else gets it. */
export async function exportEverything(steps: StepRunner, { client, ada, grace }: Cast): Promise<void> {
  await steps.check('an export gathers what all apps keep', async () => {
    const call = (method: string, input: object, token: string): ReturnType<typeof client.rpc> =>
      client.rpc('auth', `account.${method}`, input, { token })
    const asked = expectStatus(await call('exportTenant', {}, ada.accessToken), 200, 'export')
    const id = stringOf(asked, 'id')
    const { afterMs } = await eventually('a complete export', async () => {
      const body = expectStatus(await call('exported', { id }, ada.accessToken), 200, 'exported')
      return body['complete'] === true ? true : undefined
    })
    expectStatus(await call('exported', { id }, grace.accessToken), 404, 'the export of another tenant')
    const counts: number[] = []
    for (const app of ['auth', 'media', 'ledger']) {
      const input = { id, app, part: 0 }
      const part = expectStatus(await call('exportPart', input, ada.accessToken), 200, 'a part of the export')
      // Beside users, the auth app keeps sessions and what happened, which other steps add to.
      const rows = (part['rows'] as { kind: string }[]).filter(
        ({ kind }) => app !== 'auth' || kind === 'user',
      )
      counts.push(rows.length)
    }
    expectThat(counts.join() === '2,2,4', `the export holds ${counts.join(', ')} rows`)
    return `2 users, 2 objects, 4 entries; complete after ${milliseconds(afterMs)}`
  })
}
