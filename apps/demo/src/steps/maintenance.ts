import { randomUUID } from 'node:crypto'
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
    const body = expectStatus(await client.post('/api/auth/sign-in', credentials), 200, 'sign in')
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

  await steps.check('a setting changes in the running app, and back', async () => {
    const token = operator
    const signUp = (): Promise<number> => {
      const tenant = `late-${randomUUID().slice(0, 8)}`
      const person = { tenant, email: `late@${tenant}.example`, password: randomUUID(), name: 'Late' }
      return client.post('/api/auth/sign-up', person).then(({ status }) => status)
    }
    const change = { key: 'signUpOpen', value: false, reason: 'for the demo' }
    const changed = expectStatus(
      await client.rpc('auth', 'platform.setSetting', change, { token }),
      200,
      'close sign-up',
    )
    const closed = await signUp()
    const bad = await client.rpc(
      'auth',
      'platform.setSetting',
      { key: 'signUpsPerMinute', value: 0 },
      { token },
    )
    expectStatus(bad, 400, 'a value that the schema refuses')
    const back = { key: 'signUpOpen', version: 0 }
    expectStatus(await client.rpc('auth', 'platform.rollbackSetting', back, { token }), 200, 'open it again')
    const open = await signUp()
    expectThat(closed === 403 && open === 200, `closed: ${closed}, open: ${open}`)
    return `version ${String(changed['version'])} closed sign-up (403), a rollback opened it; a bad value was refused`
  })
}
