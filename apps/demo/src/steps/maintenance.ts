import { eventually, expectStatus, expectThat, milliseconds, stringOf } from '../expect.ts'
import type { Stage } from '../stage.ts'
import type { StepRunner } from '../step.ts'
import type { Cast } from './sign-up.ts'

export async function turnMaintenanceOnAndOff(stage: Stage, steps: StepRunner, cast: Cast): Promise<void> {
  const { client, ada } = cast
  const operator = await steps.step('the operator signs in', async () => {
    const credentials = {
      tenant: 'platform',
      email: 'operator@platform.example',
      password: stage.operatorPassword,
    }
    const body = expectStatus(await client.rpc('auth', 'account.signIn', credentials), 200, 'sign in')
    expectStatus(
      await client.rpc('auth', 'platform.setMaintenance', { on: true }, { token: ada.accessToken }),
      403,
      'as Ada',
    )
    return {
      detail: 'only the operator may turn maintenance on: Ada gets 403',
      value: stringOf(body, 'accessToken'),
    }
  })
  const set = async (on: boolean): Promise<void> => {
    const headers = { 'x-maintenance-token': stage.maintenanceToken }
    expectStatus(
      await client.rpc('auth', 'platform.setMaintenance', { on }, { token: operator, headers }),
      200,
      `maintenance ${on}`,
    )
  }
  const listing = async (): Promise<Response> => {
    const answer = await client.rpc('media', 'objects.list', {}, { token: ada.accessToken })
    return new Response(null, { status: answer.status, headers: answer.headers })
  }

  await steps.check('maintenance on: 503 with Retry-After', async () => {
    await set(true)
    const { value, afterMs } = await eventually('the 503', async () => {
      const response = await listing()
      return response.status === 503 ? response : undefined
    })
    const retryAfter = value.headers.get('retry-after')
    expectThat(Number(retryAfter) > 0, `Retry-After is ${String(retryAfter)}`)
    return `503 after ${milliseconds(afterMs)}, Retry-After ${retryAfter}`
  })
  await steps.check('maintenance off: served again', async () => {
    await set(false)
    const { afterMs } = await eventually('the 200', async () =>
      (await listing()).status === 200 ? true : undefined,
    )
    return `200 after ${milliseconds(afterMs)}`
  })
}
