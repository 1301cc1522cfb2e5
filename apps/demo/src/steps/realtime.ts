import { once } from 'node:events'
import { WebSocket } from 'ws'
import { expectThat } from '../expect.ts'
import type { Stage } from '../stage.ts'
import type { StepRunner } from '../step.ts'
import type { Cast } from './sign-up.ts'

export interface PlatformMessage {
  readonly topic: string
  readonly data: Record<string, unknown>
}

/** A WebSocket client that listens on the channel of its tenant. */
export interface Listener {
  /** The next event of a topic that fits, also one that came earlier and has not been taken. */
  next(topic: string, fits?: (data: Record<string, unknown>) => boolean): Promise<PlatformMessage>
  /** Everything that is no event: answers, notices. */
  readonly notices: readonly Record<string, unknown>[]
  /** Resolves with the close code. */
  readonly closed: Promise<number>
  close(): Promise<void>
}

export async function hearEvents(stage: Stage, steps: StepRunner, cast: Cast): Promise<Listener> {
  return steps.step('open a WebSocket and subscribe', async () => {
    await expectRefused(stage.gatewayUrl)
    const listener = await openListener(stage.gatewayUrl, cast.ada.accessToken)
    return {
      detail:
        'without a token 401 before the upgrade; with one: subscribed to what owners of the tenant hear',
      value: listener,
    }
  })
}

export async function openListener(gatewayUrl: string, token: string): Promise<Listener> {
  const socket = new WebSocket(`${gatewayUrl.replace('http', 'ws')}/ws/`, ['quintet.realtime.v1'], {
    headers: { authorization: `Bearer ${token}` },
  })
  const events: PlatformMessage[] = []
  const notices: Record<string, unknown>[] = []
  const arrivals = new EventTarget()
  const closed = new Promise<number>((resolve) => socket.once('close', resolve))
  socket.on('message', (data) => {
    const message = JSON.parse((data as Buffer).toString()) as Record<string, unknown>
    if (message['type'] === 'event') events.push(message['data'] as PlatformMessage)
    else notices.push(message)
    arrivals.dispatchEvent(new Event('message'))
  })
  await once(socket, 'open')
  // Ada is an owner of her tenant, and hears what happens in all of it.
  socket.send(JSON.stringify({ type: 'subscribe', id: '1', channel: 'roles/owner' }))
  const until = async <T>(what: string, find: () => T | undefined): Promise<T> => {
    const signal = AbortSignal.timeout(15_000)
    for (;;) {
      const found = find()
      if (found !== undefined) return found
      await new Promise((resolve, reject) => {
        arrivals.addEventListener('message', resolve, { once: true, signal })
        signal.addEventListener(
          'abort',
          () =>
            reject(
              new Error(
                `${what} did not arrive within 15 s; events so far: ${events.map(({ topic }) => topic).join(', ') || 'none'}, notices: ${JSON.stringify(notices)}`,
              ),
            ),
          { once: true },
        )
      })
    }
  }
  const answer = await until('the subscription', () => notices.find((notice) => notice['id'] === '1'))
  expectThat(answer['type'] === 'subscribed', `the subscription was answered with ${JSON.stringify(answer)}`)

  return {
    notices,
    closed,
    next: (topic, fits = () => true) =>
      until(topic, () => {
        const index = events.findIndex((event) => event.topic === topic && fits(event.data))
        return index < 0 ? undefined : events.splice(index, 1)[0]
      }),
    async close() {
      socket.close(1000)
      await closed
    },
  }
}

/** Resolves when the upgrade without a token is refused with 401. */
async function expectRefused(gatewayUrl: string): Promise<void> {
  const socket = new WebSocket(`${gatewayUrl.replace('http', 'ws')}/ws/`, ['quintet.realtime.v1'])
  const outcome = await new Promise<string>((resolve) => {
    socket.once('open', () => resolve('was accepted'))
    socket.once('error', (error) => resolve(error.message))
  })
  socket.terminate()
  expectThat(outcome.includes('401'), `an upgrade without a token: expected 401, ${outcome}`)
}
