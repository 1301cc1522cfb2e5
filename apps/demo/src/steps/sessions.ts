import { expectStatus, expectThat, milliseconds, stringOf } from '../expect.ts'
import type { Answer, Client } from '../client.ts'
import type { Stage } from '../stage.ts'
import type { StepRunner } from '../step.ts'
import { signIn, type Cast } from './sign-up.ts'

/** One call to each of the five apps that every signed-in user may make. */
const doors: readonly (readonly [app: string, method: string])[] = [
  ['auth', 'account.me'],
  ['media', 'objects.list'],
  ['ledger', 'ledger.accounts'],
  ['analytics', 'stats.counts'],
  ['realtime', 'channels.mine'],
]

export async function endSessions(_: Stage, steps: StepRunner, cast: Cast): Promise<void> {
  const { client, ada, alan } = cast

  await steps.check('refresh: the old access token is refused by all five apps', async () => {
    const old = ada.accessToken
    expectThat(await allAnswer(client, old, 200), 'not every app accepts the token before the refresh')
    const body = expectStatus(
      await client.post('/api/auth/refresh', { refreshToken: ada.refreshToken }),
      200,
      'refresh',
    )
    const codes = await refusals(client, old)
    expectThat(
      await allAnswer(client, stringOf(body, 'accessToken'), 200),
      'not every app accepts the new token',
    )
    ada.accessToken = stringOf(body, 'accessToken')
    ada.refreshToken = stringOf(body, 'refreshToken')
    return `401 ${[...codes].join(', ')} from all five, the new token is accepted by all five`
  })

  await steps.check('replay of an old refresh token kills the session', async () => {
    const first = alan.refreshToken
    for (let generation = 0; generation < 2; generation++) {
      const body = expectStatus(
        await client.post('/api/auth/refresh', { refreshToken: alan.refreshToken }),
        200,
        'refresh',
      )
      alan.accessToken = stringOf(body, 'accessToken')
      alan.refreshToken = stringOf(body, 'refreshToken')
    }
    expectThat(await allAnswer(client, alan.accessToken, 200), 'the current token is not accepted')
    const replay = expectStatus(
      await client.post('/api/auth/refresh', { refreshToken: first }),
      401,
      'the replay',
    )
    const codes = await refusals(client, alan.accessToken)
    expectStatus(
      await client.post('/api/auth/refresh', { refreshToken: alan.refreshToken }),
      401,
      'the current refresh token',
    )
    return `replay: ${String(replay['code'])}; the current tokens are dead too: ${[...codes].join(', ')}`
  })

  await steps.check('sign out everywhere: refused everywhere', async () => {
    const phone = ada.accessToken
    await signIn(client, ada)
    const laptop = ada.accessToken
    const sessions = expectStatus(
      await client.rpc('auth', 'account.sessions', {}, { token: laptop }),
      200,
      'sessions',
    )
    const count = (sessions['items'] as unknown[]).length
    expectStatus(
      await client.rpc('auth', 'account.signOutEverywhere', {}, { token: laptop }),
      200,
      'sign out everywhere',
    )
    const start = performance.now()
    await refusals(client, phone)
    await refusals(client, laptop)
    const delay = performance.now() - start
    await signIn(client, ada)
    await signIn(client, alan)
    return `${count} sessions ended; all ten calls that came next were refused, the last ${milliseconds(delay)} after the sign-out`
  })
}

function callAll(client: Client, token: string): Promise<Answer[]> {
  return Promise.all(doors.map(([app, method]) => client.rpc(app, method, {}, { token })))
}

async function allAnswer(client: Client, token: string, status: number): Promise<boolean> {
  const answers = await callAll(client, token)
  return answers.every((answer) => answer.status === status)
}

/** The codes with which all five apps refuse a token; fails when one of them does not. */
async function refusals(client: Client, token: string): Promise<ReadonlySet<string>> {
  const answers = await callAll(client, token)
  return new Set(
    answers.map((answer, index) =>
      String(expectStatus(answer, 401, `${doors[index]?.[0]} with a dead token`)['code']),
    ),
  )
}
