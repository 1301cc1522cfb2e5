import { setTimeout as delay } from 'node:timers/promises'
import { expectStatus, expectThat, milliseconds } from '../expect.ts'
import type { Stage } from '../stage.ts'
import type { StepRunner } from '../step.ts'
import { openListener } from './realtime.ts'
import { signIn, type Cast } from './sign-up.ts'

export async function stopInOrder(stage: Stage, steps: StepRunner, cast: Cast): Promise<void> {
  const { client, ada } = cast
  await steps.check('orderly stop: clients are told, no request in flight is lost', async () => {
    await signIn(client, ada)
    const listener = await openListener(stage.gatewayUrl, ada.accessToken)
    const uploads = Array.from({ length: 4 }, (_, index) =>
      client.upload(
        `/api/media/objects?name=slow-${index}.bin`,
        slowBody(12, 100),
        'application/octet-stream',
        { token: ada.accessToken },
      ),
    )
    await delay(300)
    const start = performance.now()
    const stopped = stage.stop()
    const code = await listener.closed
    const notice = listener.notices.find(({ type }) => type === 'server_shutdown')
    expectThat(
      notice !== undefined,
      `no server_shutdown before the close, only ${JSON.stringify(listener.notices)}`,
    )
    expectThat(code === 1001, `closed with ${code}`)
    for (const answer of await Promise.all(uploads)) expectStatus(answer, 201, 'an upload in flight')
    await stopped
    return `server_shutdown and close 1001; 4 uploads in flight all answered 201; all stopped after ${milliseconds(performance.now() - start)}`
  })
}

/** A body that takes its time. */
async function* slowBody(chunks: number, everyMs: number): AsyncGenerator<Uint8Array> {
  for (let index = 0; index < chunks; index++) {
    await delay(everyMs)
    yield new Uint8Array(1024).fill(index)
  }
}
