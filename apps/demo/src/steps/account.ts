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
    const { value: progress, afterMs } = await eventually('a complete export', async () => {
      const body = expectStatus(await call('exported', { id }, ada.accessToken), 200, 'exported')
      return body['complete'] === true
        ? (body['apps'] as Record<string, { readonly parts: number }>)
        : undefined
    })
    expectStatus(await call('exported', { id }, grace.accessToken), 404, 'the export of another tenant')
    const kinds = new Map<string, number>()
    for (const [app, { parts }] of Object.entries(progress)) {
      for (let part = 0; part < parts; part++) {
        const answer = await call('exportPart', { id, app, part }, ada.accessToken)
        const { rows } = expectStatus(answer, 200, 'a part of the export') as { rows: { kind: string }[] }
        for (const { kind } of rows) kinds.set(kind, (kinds.get(kind) ?? 0) + 1)
      }
    }
    // Beside these it holds sessions and what happened, which other steps add to.
    const held = ['user', 'object', 'account', 'entry']
      .map((kind) => `${kinds.get(kind) ?? 0} of ${kind}`)
      .join(', ')
    expectThat(held === '2 of user, 2 of object, 3 of account, 4 of entry', `the export holds ${held}`)
    expectThat((kinds.get('count') ?? 0) > 0, 'the export holds no counts')
    return `${held}; complete after ${milliseconds(afterMs)}`
  })
}
