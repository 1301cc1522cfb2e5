import { eventually, expectStatus, expectThat, milliseconds } from '../expect.ts'
import type { Stage } from '../stage.ts'
import type { StepRunner } from '../step.ts'
import type { Cast } from './sign-up.ts'

export async function killMedia(stage: Stage, steps: StepRunner, cast: Cast): Promise<void> {
  const { client, ada } = cast
  await steps.check('kill -9 of the media process: restarted, answers again', async () => {
    const before = await stage.pidOf('media', 'http')
    process.kill(before, 'SIGKILL')
    const { afterMs } = await eventually(
      'the answer',
      async () => {
        const pid = await stage.pidOf('media', 'http')
        if (pid === before || pid === 0) return undefined
        const answer = await client.rpc('media', 'objects.list', {}, { token: ada.accessToken })
        return answer.status === 200 ? true : undefined
      },
      { timeoutMs: 30_000 },
    )
    const after = await stage.pidOf('media', 'http')
    expectThat(after !== before, 'the process id has not changed')
    expectStatus(
      await client.rpc('ledger', 'ledger.accounts', {}, { token: ada.accessToken }),
      200,
      'the ledger meanwhile',
    )
    return `pid ${before} -> ${after}, answers after ${milliseconds(afterMs)}`
  })
}
