import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { RealtimeConnection } from '../../src/server/connection.ts'
import { createSubscription } from '../../src/server/subscription.ts'
import type { Topic } from '../../src/topic/topic.ts'

beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
afterEach(() => void vi.useRealTimers())

const limit = 1_000
const start = { epoch: 'e', offset: 0, tag: 't' }
const replay = [1, 2].map((offset) => ({ position: { epoch: 'e', offset, tag: `t${offset}` }, data: '"x"' }))

/** A connection whose client reads when it is told to. */
function connectionOf(
  buffered: number,
): RealtimeConnection & { bufferedBytes: number; readonly sent: unknown[] } {
  const sent: unknown[] = []
  return {
    bufferedBytes: buffered,
    sent,
    signal: new AbortController().signal,
    send: (text: string) => sent.push(JSON.parse(text)) > 0,
    close: vi.fn<RealtimeConnection['close']>(),
  } as never
}

const topicOf = (): Topic => ({ name: 'news', remove: vi.fn<Topic['remove']>() }) as never

describe('a replay to a client that does not read', () => {
  it('waits for as long as something is read within 30 s', async () => {
    const connection = connectionOf(limit + 10)
    createSubscription(topicOf(), 'alice', connection, { limit, policy: 'disconnect' }).start(start, replay)
    for (let turn = 0; turn < 9; turn++) {
      await vi.advanceTimersByTimeAsync(29_000)
      connection.bufferedBytes--
    }
    expect([connection.sent.length, vi.mocked(connection.close).mock.calls.length]).toEqual([0, 0])
    connection.bufferedBytes = 0
    await vi.advanceTimersByTimeAsync(50)
    expect(connection.sent).toHaveLength(2)
  })

  it('disconnects it with 4008 after 30 s without a byte', async () => {
    const connection = connectionOf(limit + 10)
    const topic = topicOf()
    const subscription = createSubscription(topic, 'alice', connection, { limit, policy: 'disconnect' })
    subscription.start(start, replay)
    await vi.advanceTimersByTimeAsync(29_900)
    expect(connection.close).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(200)
    expect(connection.close).toHaveBeenCalledExactlyOnceWith(4008, 'slow consumer')
    expect(topic.remove).toHaveBeenCalledExactlyOnceWith(subscription)
    expect(connection.sent).toEqual([])
  })
})
