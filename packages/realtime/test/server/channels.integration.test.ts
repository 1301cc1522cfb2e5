import { randomUUID } from 'node:crypto'
import { silentLogger, type Logger, type Principal } from '@quintet/core'
import { createTestHost, type TestHost, testUser } from '@quintet/core/testing'
import { redisUrl, until } from '@quintet/test-kit'
import { Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { z } from 'zod'
import {
  channel,
  channels,
  createPublisher,
  type Channel,
  type ChannelsOptions,
  type EventPosition,
  type Publisher,
} from '../../src/index.ts'
import { openTestSession, type TestSession } from '../support/session.ts'

interface Instance {
  readonly host: TestHost
  open(token?: string, principal?: Principal): TestSession
}

describe('channels', () => {
  let redis: Redis
  let prefix: string
  const cleanups: (() => Promise<void> | void)[] = []

  beforeAll(() => {
    redis = new Redis(redisUrl())
  })
  afterAll(() => redis.disconnect())
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
    prefix = ''
  })

  const errors: unknown[] = []
  const logger: Logger = {
    ...silentLogger,
    error: (fields) => void errors.push(fields),
    child: () => logger,
  }
  const tokens = {
    alice: testUser({ userId: 'alice', sessionId: 's-alice' }),
    anna: testUser({ userId: 'anna', sessionId: 's-anna', roles: ['editor'] }),
    bob: testUser({ userId: 'bob', tenantId: 'tenant-b', sessionId: 's-bob' }),
  }

  async function start(
    definitions: readonly Channel[],
    options: Partial<ChannelsOptions> = {},
  ): Promise<Instance> {
    prefix ||= `test-rt-${randomUUID()}`
    const protocol = channels({ redis, channels: definitions, prefix, ...options })
    const host = createTestHost({ tokens, provide: { greeting: 'hello' }, logger })
    await protocol.start?.(host)
    cleanups.push(async () => {
      await protocol.close?.()
      await host.close()
    })
    return { host, open: (token, principal) => openTestSession(protocol, host, token, principal) }
  }

  function publisher(definitions?: readonly Channel[]): Publisher {
    return createPublisher({ redis, prefix, ...(definitions ? { channels: definitions } : {}) })
  }

  const notices = channel('notices', { access: 'authenticated' })
  const a = { tenantId: 'tenant-a' }

  describe('subscribe', () => {
    it('brings events from another process, in order, to every instance', async () => {
      const [first, second] = [await start([notices]), await start([notices])]
      const [one, two] = [first.open('alice'), second.open('anna')]
      expect(await one.ask({ type: 'subscribe', channel: 'notices' })).toMatchObject({
        type: 'subscribed',
        offset: 0,
      })
      await two.ask({ type: 'subscribe', channel: 'notices' })
      const sender = publisher([notices])
      for (let index = 1; index <= 20; index++)
        expect(await sender.publish('notices', a, { index })).toMatchObject({ offset: index })
      await until(() => one.events().length === 20 && two.events().length === 20)
      expect(one.events()).toEqual(Array.from({ length: 20 }, (_, index) => ({ index: index + 1 })))
      expect(two.events()).toEqual(one.events())
      expect(one.messages.findLast((message) => message.type === 'event')).toMatchObject({
        channel: 'notices',
        offset: 20,
      })
    })

    it('stops with unsubscribe, and with the end of the connection', async () => {
      const instance = await start([notices])
      const [one, two] = [instance.open('alice'), instance.open('anna')]
      await one.ask({ type: 'subscribe', channel: 'notices' })
      await two.ask({ type: 'subscribe', channel: 'notices' })
      await publisher().publish('notices', a, 1)
      await until(() => one.events().length + two.events().length === 2)
      expect(await one.ask({ type: 'unsubscribe', channel: 'notices' })).toMatchObject({
        type: 'unsubscribed',
      })
      await publisher().publish('notices', a, 2)
      await until(() => two.events().length === 2)
      expect(one.events()).toEqual([1])
      const feeds = async (): Promise<number> =>
        ((await redis.pubsub('CHANNELS', `${prefix}*`)) as string[]).length
      expect(await feeds()).toBe(1)
      two.close()
      await until(async () => (await feeds()) === 0)
      expect(await one.ask({ type: 'unsubscribe', channel: 'notices' })).toMatchObject({
        type: 'error',
        error: { code: 'ERR_REALTIME_NOT_SUBSCRIBED', kind: 'conflict' },
      })
    })

    it("never reaches another tenant's channel of the same name", async () => {
      const instance = await start([notices])
      const [alice, bob] = [instance.open('alice'), instance.open('bob')]
      await alice.ask({ type: 'subscribe', channel: 'notices' })
      await bob.ask({ type: 'subscribe', channel: 'notices' })
      await publisher().publish('notices', { tenantId: 'tenant-b' }, 'for b')
      await publisher().publish('notices', a, 'for a')
      await until(() => alice.events().length === 1 && bob.events().length === 1)
      expect([alice.events(), bob.events()]).toEqual([['for a'], ['for b']])
    })

    it('shares a global channel among tenants, and with the public where it says so', async () => {
      const news = channel('news', { access: 'public', scope: 'global' })
      const instance = await start([news])
      const sessions = [instance.open('alice'), instance.open('bob'), instance.open()]
      for (const session of sessions) await session.ask({ type: 'subscribe', channel: 'news' })
      await publisher([news]).publish('news', { tenantId: null }, 'all')
      await until(() => sessions.every((session) => session.events().length === 1))
    })

    it('refuses by access rule, by authorize, and what is no channel', async () => {
      const editors = channel('editors', { access: { roles: ['editor'] } })
      const own = channel('users/:user', {
        access: 'authenticated',
        authorize: ({ principal, params, services }) =>
          principal.userId === params.user && (services as { greeting: string }).greeting === 'hello',
      })
      const instance = await start([notices, editors, own])
      const [alice, anna, nobody] = [instance.open('alice'), instance.open('anna'), instance.open()]
      const refusal = async (session: TestSession, name: unknown): Promise<string> => {
        const answer = await session.ask({ type: 'subscribe', channel: name })
        return answer.type === 'error' ? `${answer.error.kind} ${answer.error.code}` : answer.type
      }
      expect(await refusal(nobody, 'notices')).toBe('unauthenticated ERR_CORE_UNAUTHENTICATED')
      expect(await refusal(alice, 'editors')).toBe('forbidden ERR_CORE_FORBIDDEN')
      expect(await refusal(anna, 'editors')).toBe('subscribed')
      expect(await refusal(alice, 'users/alice')).toBe('subscribed')
      expect(await refusal(alice, 'users/anna')).toBe('forbidden ERR_REALTIME_FORBIDDEN')
      expect(await refusal(alice, 'nothing')).toBe('not-found ERR_REALTIME_UNKNOWN_CHANNEL')
      expect(await refusal(alice, 'a b')).toBe('invalid-input ERR_REALTIME_BAD_MESSAGE')
      expect(await refusal(alice, 7)).toBe('invalid-input ERR_REALTIME_BAD_MESSAGE')
    })

    it('checks the session with every message', async () => {
      const instance = await start([notices, channel('more', { access: 'authenticated' })])
      const alice = instance.open('alice')
      await alice.ask({ type: 'subscribe', channel: 'notices' })
      instance.host.auth.end('alice', 'revoked')
      expect(await alice.ask({ type: 'subscribe', channel: 'more' })).toMatchObject({
        type: 'error',
        error: { kind: 'unauthenticated' },
      })
    })

    it('is checked again by and by, and ended when it is not allowed any more', async () => {
      let allowed = true
      const guarded = channel('guarded', { access: 'authenticated', authorize: () => allowed })
      const instance = await start([guarded, notices], { recheck: 50 })
      const alice = instance.open('alice')
      await alice.ask({ type: 'subscribe', channel: 'guarded' })
      await alice.ask({ type: 'subscribe', channel: 'notices' })
      allowed = false
      await until(() =>
        alice.messages.some((message) => message.type === 'ended' && message.channel === 'guarded'),
      )
      await publisher().publish('guarded', a, 1)
      await publisher().publish('notices', a, 2)
      await until(() => alice.events().length === 1)
      expect(alice.events()).toEqual([2])
    })

    it('is checked again although another check hangs', async () => {
      const hanging = channel('hanging', {
        access: 'authenticated',
        authorize: () => (hang ? new Promise<boolean>(() => undefined) : true),
      })
      let hang = false
      let checked = 0
      const counted = channel('counted', { access: 'authenticated', authorize: () => ++checked > 0 })
      const instance = await start([hanging, counted], { recheck: 50 })
      const [alice, anna] = [instance.open('alice'), instance.open('anna')]
      await alice.ask({ type: 'subscribe', channel: 'hanging' })
      await anna.ask({ type: 'subscribe', channel: 'counted' })
      hang = true
      const before = checked
      await until(() => checked > before + 3)
      alice.close()
    })

    it('is limited in number', async () => {
      const rooms = channel('rooms/:room', { access: 'authenticated' })
      const instance = await start([rooms], { maxSubscriptions: 2 })
      const alice = instance.open('alice')
      await alice.ask({ type: 'subscribe', channel: 'rooms/1' })
      await alice.ask({ type: 'subscribe', channel: 'rooms/2' })
      expect(await alice.ask({ type: 'subscribe', channel: 'rooms/3' })).toMatchObject({
        type: 'error',
        error: { code: 'ERR_REALTIME_SUBSCRIPTION_LIMIT', kind: 'conflict' },
      })
      expect(await alice.ask({ type: 'subscribe', channel: 'rooms/2' })).toMatchObject({ type: 'subscribed' })
    })
  })

  describe('resume', () => {
    it('replays exactly what was missed, once, while more comes in', async () => {
      const instance = await start([notices])
      const sender = publisher([notices])
      const first = instance.open('alice')
      await first.ask({ type: 'subscribe', channel: 'notices' })
      for (let index = 1; index <= 5; index++) await sender.publish('notices', a, index)
      await until(() => first.events().length === 5)
      const last = first.messages.findLast((message) => message.type === 'event')
      first.close()
      for (let index = 6; index <= 30; index++) await sender.publish('notices', a, index)
      const second = instance.open('alice')
      const more = Promise.all(
        Array.from({ length: 30 }, (_, index) => sender.publish('notices', a, 31 + index)),
      )
      const since =
        last?.type === 'event' ? { epoch: last.epoch, offset: last.offset, tag: last.tag } : undefined
      expect(await second.ask({ type: 'subscribe', channel: 'notices', since })).toMatchObject({
        recovered: true,
        offset: 5,
      })
      await more
      await until(() => second.events().length === 55)
      const offsets = second.messages.flatMap((message) => (message.type === 'event' ? [message.offset] : []))
      expect(offsets).toEqual(Array.from({ length: 55 }, (_, index) => index + 6))
    })

    it('says when something is lost: trimmed, too much, another epoch, no history', async () => {
      const short = channel('short', { access: 'authenticated', history: { length: 5 } })
      const none = channel('none', { access: 'authenticated', history: false })
      const instance = await start([short, none, notices], { maxReplay: 50 })
      const alice = instance.open('alice')
      const sender = publisher([short, none, notices])
      const at = async (name: string): Promise<EventPosition> => {
        const { epoch, offset, tag } = await alice.ask({ type: 'subscribe', channel: name })
        return { epoch, offset, tag } as EventPosition
      }
      const first = { short: await at('short'), none: await at('none'), notices: await at('notices') }
      // Streams are trimmed by whole nodes of about 100 entries.
      const old: EventPosition[] = []
      for (let index = 0; index < 250; index++) old.push(await sender.publish('short', a, index))
      const unkept = await sender.publish('none', a, 1)
      const seen: EventPosition[] = []
      for (let index = 0; index < 51; index++) seen.push(await sender.publish('notices', a, index))
      const resume = async (name: string, since: Partial<EventPosition> = {}): Promise<unknown> =>
        (await alice.ask({ type: 'subscribe', channel: name, since }))['recovered']
      expect(await resume('short', old[9])).toBe(false)
      expect(await resume('none', first.none)).toBe(false)
      expect(await resume('none', unkept)).toBe(true)
      expect(await resume('notices', first.notices)).toBe(false)
      expect(await resume('notices', seen[0])).toBe(true)
      expect(await resume('notices', seen[50])).toBe(true)
      expect(await resume('notices', { ...seen[50], epoch: 'other' })).toBe(false)
      expect(await resume('notices', { ...seen[50], offset: 99 })).toBe(false)
      // The same offset of another history.
      expect(await resume('notices', { ...seen[0], tag: 'other' })).toBe(false)
      expect(await resume('notices', { ...seen[50], tag: 'other' })).toBe(false)
    })

    it('replays no more than maxReplaySize, and says that something is lost', async () => {
      const instance = await start([notices], { maxReplaySize: '10kb' })
      const alice = instance.open('alice')
      const sender = publisher([notices])
      await alice.ask({ type: 'subscribe', channel: 'notices' })
      const seen: EventPosition[] = []
      for (let index = 0; index < 100; index++) seen.push(await sender.publish('notices', a, 'x'.repeat(254)))
      const resume = async (since: EventPosition | undefined): Promise<unknown> =>
        (await alice.ask({ type: 'subscribe', channel: 'notices', since }))['recovered']
      // 40 events of 256 bytes are 10 KiB.
      expect(await resume(seen[59])).toBe(true)
      expect(await resume(seen[58])).toBe(false)
    })

    it('refuses an event that is larger than maxEventSize, whoever publishes it', async () => {
      const small = channel('small', {
        access: 'authenticated',
        maxEventSize: 10,
        message: z.string(),
        onMessage: ({ data, publish }) => publish(data.repeat(10)),
      })
      const alice = (await start([small])).open('alice')
      await alice.ask({ type: 'subscribe', channel: 'small' })
      const sent = await alice.ask({ type: 'publish', channel: 'small', data: 'x' })
      expect(sent['error']).toMatchObject({ code: 'ERR_REALTIME_TOO_LARGE', kind: 'too-large' })
      const larger = { code: 'ERR_REALTIME_TOO_LARGE', message: 'The event is larger than 10 bytes.' }
      await expect(publisher([small]).publish('small', a, 'ééééé')).rejects.toMatchObject(larger)
      const alone = createPublisher({ redis, prefix, maxEventSize: 10 })
      await expect(alone.publish('anything', a, 'xxxxxxxxx')).rejects.toMatchObject(larger)
      await publisher([small]).publish('small', a, 'éééé')
      await until(() => alice.events().length === 1)
      expect(alice.events()).toEqual(['éééé'])
    })

    it('forgets a history after its time', async () => {
      const brief = channel('brief', { access: 'authenticated', history: { maxAge: '1s' } })
      await start([brief])
      await publisher([brief]).publish('brief', a, 1)
      const [stream, meta] = await Promise.all(
        ['e', 'm'].map((kind) => redis.pttl(`${prefix}:${kind}:{t.tenant-a:brief}`)),
      )
      expect(stream).toBeGreaterThan(500)
      expect(stream).toBeLessThanOrEqual(1_000)
      expect(meta).toBeGreaterThan(23 * 3_600_000)
    })

    it('stays where it is on a quiet channel for as long as somebody is subscribed', async () => {
      vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
      cleanups.push(() => void vi.useRealTimers())
      const alice = (await start([notices])).open('alice')
      await alice.ask({ type: 'subscribe', channel: 'notices' })
      const meta = `${prefix}:m:{t.tenant-a:notices}`
      await redis.pexpire(meta, 60_000)
      vi.advanceTimersByTime(3_600_000)
      await until(async () => (await redis.pttl(meta)) > 60_000)
    })
  })

  describe('publish', () => {
    const rooms = channel('rooms/:room', {
      access: 'authenticated',
      message: z.strictObject({ text: z.string().max(20) }),
      onMessage: async ({ data, params, principal, publish, services }) => {
        await publish({
          text: data.text,
          room: params.room,
          from: principal.userId,
          greeting: (services as { greeting: string }).greeting,
        })
        return { length: data.text.length }
      },
    })

    it('runs the handler, answers what it returns, and reaches everybody in the tenant', async () => {
      const [first, second] = [await start([rooms]), await start([rooms])]
      const [alice, anna, bob] = [first.open('alice'), second.open('anna'), second.open('bob')]
      for (const session of [alice, anna, bob]) await session.ask({ type: 'subscribe', channel: 'rooms/7' })
      expect(await alice.ask({ type: 'publish', channel: 'rooms/7', data: { text: 'hi' } })).toMatchObject({
        type: 'published',
        result: { length: 2 },
      })
      const event = { text: 'hi', room: '7', from: 'alice', greeting: 'hello' }
      await until(() => anna.events().length === 1 && alice.events().length === 1)
      expect([alice.events(), anna.events(), bob.events()]).toEqual([[event], [event], []])
    })

    it('publishes as it is without a handler, keeping the order of one client', async () => {
      const plain = channel('plain', { access: 'authenticated', message: z.number() })
      const instance = await start([plain])
      const [alice, anna] = [instance.open('alice'), instance.open('anna')]
      await anna.ask({ type: 'subscribe', channel: 'plain' })
      await Promise.all(
        Array.from({ length: 30 }, (_, index) =>
          alice.ask({ type: 'publish', channel: 'plain', data: index }),
        ),
      )
      await until(() => anna.events().length === 30)
      expect(anna.events()).toEqual(Array.from({ length: 30 }, (_, index) => index))
    })

    it.each([
      ['what the schema refuses', { text: 7 }, 'invalid-input'],
      ['nothing', undefined, 'invalid-input'],
      ['what is too large', { text: 'x'.repeat(70_000) }, 'too-large'],
    ])('refuses %s', async (_name, data, kind) => {
      const instance = await start([rooms])
      const alice = instance.open('alice')
      expect(await alice.ask({ type: 'publish', channel: 'rooms/1', data })).toMatchObject({
        type: 'error',
        error: { kind },
      })
    })

    it('refuses where clients may only listen', async () => {
      const instance = await start([notices])
      expect(
        await instance.open('alice').ask({ type: 'publish', channel: 'notices', data: 1 }),
      ).toMatchObject({ error: { code: 'ERR_REALTIME_NO_MESSAGES', kind: 'unsupported' } })
      expect(await instance.open().ask({ type: 'publish', channel: 'notices', data: 1 })).toMatchObject({
        error: { kind: 'unauthenticated' },
      })
    })

    it('refuses more at once than a connection may have in progress', async () => {
      const { promise: release, resolve } = Promise.withResolvers<void>()
      const slow = channel('slow', { access: 'authenticated', message: z.number(), onMessage: () => release })
      const instance = await start([slow], { maxPending: 2 })
      const alice = instance.open('alice')
      const calls = [1, 2].map((data) => alice.ask({ type: 'publish', channel: 'slow', data }))
      expect(await alice.ask({ type: 'publish', channel: 'slow', data: 3 })).toMatchObject({
        error: { code: 'ERR_REALTIME_TOO_MANY', kind: 'rate-limited' },
      })
      resolve()
      expect((await Promise.all(calls)).map(({ type }) => type)).toEqual(['published', 'published'])
    })
  })

  describe('presence', () => {
    const room = channel('room', { access: 'authenticated', presence: true })

    it('does not change when a user subscribes again', async () => {
      const instance = await start([room])
      const [alice, anna] = [instance.open('alice'), instance.open('anna')]
      await alice.ask({ type: 'subscribe', channel: 'room' })
      await anna.ask({ type: 'subscribe', channel: 'room' })
      expect(await anna.ask({ type: 'subscribe', channel: 'room' })).toMatchObject({
        present: ['alice', 'anna'],
      })
      await anna.ask({ type: 'unsubscribe', channel: 'room' })
      const told = (): string[] =>
        alice.messages.flatMap((message) =>
          message.type === 'presence' && message.user === 'anna' ? [message.event] : [],
        )
      await until(() => told().includes('leave'))
      expect(told()).toEqual(['join', 'leave'])
    })

    it('tells who is here, who comes and who leaves, counted by user', async () => {
      const [first, second] = [await start([room]), await start([room])]
      const alice = first.open('alice')
      expect(await alice.ask({ type: 'subscribe', channel: 'room' })).toMatchObject({ present: ['alice'] })
      const anna = second.open('anna')
      expect(await anna.ask({ type: 'subscribe', channel: 'room' })).toMatchObject({
        present: ['alice', 'anna'],
      })
      const again = second.open('anna')
      await again.ask({ type: 'subscribe', channel: 'room' })
      const seen = (): string[] =>
        alice.messages.flatMap((message) =>
          message.type === 'presence' && message.user === 'anna' ? [message.event] : [],
        )
      await until(() => seen().length === 1)
      again.close()
      anna.close()
      await until(() => seen().length === 2)
      expect(seen()).toEqual(['join', 'leave'])
      const bob = second.open('bob')
      expect(await bob.ask({ type: 'subscribe', channel: 'room' })).toMatchObject({ present: ['bob'] })
    })

    it('never brings back who has left while the presence of another channel is renewed', async () => {
      const lounge = channel('lounge', { access: 'authenticated', presence: true })
      let held: (() => void) | undefined
      const slow = {
        async eval(script: string, keys: number, ...rest: (string | number)[]) {
          const isRenewal = rest[1] === 'touch' && String(rest[0]).includes(':room}') && rest.length > 4
          if (isRenewal && held === undefined && renewing)
            await new Promise<void>((resolve) => (held = resolve))
          return redis.eval(script, keys, ...rest)
        },
        duplicate: (overrides?: object) => redis.duplicate(overrides as never),
      }
      let renewing = false
      const instance = await start([room, lounge], { redis: slow as never, presenceTtl: 300 })
      const [alice, anna] = [instance.open('alice'), instance.open('anna')]
      await alice.ask({ type: 'subscribe', channel: 'room' })
      await anna.ask({ type: 'subscribe', channel: 'lounge' })
      renewing = true
      const release = await until(() => held)
      anna.close()
      const members = (): Promise<number> => redis.hlen(`${prefix}:p:{t.tenant-a:lounge}`)
      await until(async () => (await members()) === 0)
      release()
      held = undefined
      await until(() => held)
      expect(await members()).toBe(0)
      ;(held as (() => void) | undefined)?.()
      renewing = false
    })

    it('forgets the members of an instance that died, and keeps those that live', async () => {
      const instance = await start([room], { presenceTtl: 300 })
      const alice = instance.open('alice')
      await alice.ask({ type: 'subscribe', channel: 'room' })
      await redis.hset(`${prefix}:p:{t.tenant-a:room}`, 'dead:1', `${Date.now() + 400} ghost`)
      const anna = instance.open('anna')
      expect(await anna.ask({ type: 'subscribe', channel: 'room' })).toMatchObject({
        present: ['alice', 'anna', 'ghost'],
      })
      await until(() =>
        alice.messages.some(
          (message) => message.type === 'presence' && message.event === 'leave' && message.user === 'ghost',
        ),
      )
      const again = instance.open('alice')
      expect(await again.ask({ type: 'subscribe', channel: 'room' })).toMatchObject({
        present: ['alice', 'anna'],
      })
    })
  })

  describe('a client that does not read', () => {
    it('gets what it has missed as fast as it reads', async () => {
      const instance = await start([notices], { slowConsumer: { limit: 1_000 } })
      const first = await publisher([notices]).publish('notices', a, 0)
      for (let index = 1; index <= 5; index++)
        await publisher([notices]).publish('notices', a, `${index}`.repeat(3_000))
      const slow = instance.open('alice')
      slow.bufferedBytes = 2_000
      await slow.ask({ type: 'subscribe', channel: 'notices', since: first })
      await publisher([notices]).publish('notices', a, 'live')
      expect(slow.events()).toEqual([])
      expect(slow.closedWith).toBeUndefined()
      slow.bufferedBytes = 0
      await until(() => slow.events().length === 6)
      expect(slow.events().at(-1)).toBe('live')
    })

    it('is told when more came during its replay than could be kept, and can resume', async () => {
      const instance = await start([notices], { slowConsumer: { limit: 1_000 } })
      const [slow, quick] = [instance.open('alice'), instance.open('anna')]
      await quick.ask({ type: 'subscribe', channel: 'notices' })
      const first = await publisher([notices]).publish('notices', a, 0)
      await publisher([notices]).publish('notices', a, 1)
      // What comes in after this is kept for the slow one.
      await until(() => quick.events().length === 2)
      slow.bufferedBytes = 2_000
      await slow.ask({ type: 'subscribe', channel: 'notices', since: first })
      for (let index = 2; index <= 4; index++)
        await publisher([notices]).publish('notices', a, `${index}`.repeat(1_000))
      await until(() => quick.events().length === 5)
      slow.bufferedBytes = 0
      const lost = await until(() => slow.messages.find((message) => message.type === 'lost'))
      expect(lost).toMatchObject({ channel: 'notices', offset: 5 })
      expect(slow.events()).toEqual([1, '2'.repeat(1_000)])
      expect(slow.closedWith).toBeUndefined()
    })

    it('is disconnected with 4008, and the others are not held up', async () => {
      const instance = await start([notices], { slowConsumer: { limit: '1kb' } })
      const [slow, quick] = [instance.open('alice'), instance.open('anna')]
      await slow.ask({ type: 'subscribe', channel: 'notices' })
      await quick.ask({ type: 'subscribe', channel: 'notices' })
      slow.bufferedBytes = 1_025
      await publisher().publish('notices', a, 1)
      await until(() => quick.events().length === 1)
      expect(slow.closedWith).toEqual([4008, 'slow consumer'])
      expect(slow.events()).toEqual([])
    })

    it('is left out with policy skip, told from where, and can resume', async () => {
      const instance = await start([notices], { slowConsumer: { limit: 1_000, policy: 'skip' } })
      const slow = instance.open('alice')
      await slow.ask({ type: 'subscribe', channel: 'notices' })
      const first = await publisher().publish('notices', a, 1)
      await until(() => slow.events().length === 1)
      slow.bufferedBytes = 2_000
      for (let index = 2; index <= 4; index++) await publisher().publish('notices', a, index)
      slow.bufferedBytes = 0
      const lost = await until(() => slow.messages.find((message) => message.type === 'lost'))
      expect(lost).toMatchObject({ channel: 'notices', offset: 4 })
      expect(slow.closedWith).toBeUndefined()
      expect(
        await slow.ask({
          type: 'subscribe',
          channel: 'notices',
          since: first,
        }),
      ).toMatchObject({ recovered: true })
      await until(() => slow.events().length === 4)
      expect(slow.events()).toEqual([1, 2, 3, 4])
    })
  })

  it('ends a subscription that cannot be authorized again for long, as unavailable', async () => {
    let failing = false
    const guarded = channel('guarded', {
      access: 'authenticated',
      authorize() {
        if (failing) throw new TypeError('the database is away')
        return true
      },
    })
    const alice = (await start([guarded], { recheck: 20 })).open('alice')
    await alice.ask({ type: 'subscribe', channel: 'guarded' })
    failing = true
    const ended = await until(() => alice.messages.find(({ type }) => type === 'ended'))
    expect(ended).toMatchObject({ channel: 'guarded', error: { code: 'ERR_REALTIME_UNAVAILABLE' } })
  })

  describe('definitions', () => {
    it('are asked from the most specific one on, in whatever order they are given', async () => {
      const instance = await start([
        channel('rooms/:room', { access: 'authenticated' }),
        channel('rooms/staff', { access: { roles: ['editor'] } }),
      ])
      expect(await instance.open('alice').ask({ type: 'subscribe', channel: 'rooms/staff' })).toMatchObject({
        error: { kind: 'forbidden' },
      })
      expect(await instance.open('anna').ask({ type: 'subscribe', channel: 'rooms/staff' })).toMatchObject({
        type: 'subscribed',
      })
      expect(await instance.open('alice').ask({ type: 'subscribe', channel: 'rooms/1' })).toMatchObject({
        type: 'subscribed',
      })
    })
  })

  describe('the conversation', () => {
    it('fails as a handler does, and logs why, when JSON cannot hold the result', async () => {
      const big = channel('big', { access: 'authenticated', message: z.string(), onMessage: () => 10n })
      const instance = await start([big])
      expect(await instance.open('alice').ask({ type: 'publish', channel: 'big', data: 'x' })).toMatchObject({
        error: { kind: 'internal' },
      })
      expect(errors).toContainEqual(
        expect.objectContaining({
          err: expect.objectContaining({ message: expect.stringContaining('BigInt') }),
        }),
      )
    })

    it.each([
      ['no JSON', '{', 'ERR_REALTIME_BAD_MESSAGE'],
      ['a list', '[]', 'ERR_REALTIME_BAD_MESSAGE'],
      ['no id', '{"type":"ping"}', 'ERR_REALTIME_BAD_MESSAGE'],
      ['an unknown type', '{"id":999,"type":"shout"}', 'ERR_REALTIME_BAD_MESSAGE'],
      [
        'a malformed position',
        '{"id":999,"type":"subscribe","channel":"notices","since":5}',
        'ERR_REALTIME_BAD_MESSAGE',
      ],
      [
        'a negative offset',
        '{"id":999,"type":"subscribe","channel":"notices","since":{"epoch":"x","offset":-1,"tag":"x"}}',
        'ERR_REALTIME_BAD_MESSAGE',
      ],
      [
        'a position without a tag',
        '{"id":999,"type":"subscribe","channel":"notices","since":{"epoch":"x","offset":1}}',
        'ERR_REALTIME_BAD_MESSAGE',
      ],
    ])('answers %s with an error and goes on', async (_name, text, code) => {
      const instance = await start([notices])
      const alice = instance.open('alice')
      alice.sendText(text)
      expect(alice.messages).toMatchObject([{ type: 'error', error: { code } }])
      expect(await alice.ask({ type: 'ping' })).toMatchObject({ type: 'pong' })
    })

    it('refuses binary messages', async () => {
      const alice = (await start([notices])).open('alice')
      alice.sendText(Buffer.from('{}'))
      expect(alice.messages).toMatchObject([{ type: 'error', error: { code: 'ERR_REALTIME_BAD_MESSAGE' } }])
    })

    it('goes on with a renewed token', async () => {
      const instance = await start([notices])
      instance.host.auth.grant('alice-2', tokens.alice)
      const alice = instance.open('alice')
      expect(await alice.ask({ type: 'renew', token: 'alice-2' })).toMatchObject({ type: 'renewed' })
      instance.host.auth.end('alice', 'superseded')
      expect(alice.credentials).toEqual({ scheme: 'bearer', token: 'alice-2' })
      instance.host.auth.grant('alice-2', tokens.alice)
      expect(await alice.ask({ type: 'subscribe', channel: 'notices' })).toMatchObject({ type: 'subscribed' })
      expect(await alice.ask({ type: 'renew', token: 'forged' })).toMatchObject({
        type: 'error',
        error: { kind: 'unauthenticated' },
      })
    })

    it('tells when the token expires, at the start and after a renewal', async () => {
      const instance = await start([notices])
      const expiresAt = Date.now() + 60_000
      const alice = instance.open('alice', { ...tokens.alice, expiresAt })
      expect(alice.messages).toMatchObject([{ type: 'expires' }])
      const [first] = alice.messages
      const expiresInMs = first?.type === 'expires' ? first.expiresInMs : 0
      expect(expiresInMs).toBeGreaterThan(0)
      expect(expiresInMs).toBeLessThanOrEqual(60_000)
      instance.host.auth.grant('alice-3', tokens.alice)
      await alice.ask({ type: 'renew', token: 'alice-3' })
      await until(() => alice.messages.filter(({ type }) => type === 'expires').length === 2)
    })

    it('takes no new messages once it has told of a shutdown', async () => {
      const alice = (await start([notices])).open('alice')
      alice.session.notifyShutdown('deployment', 750)
      expect(await alice.ask({ type: 'subscribe', channel: 'notices' })).toMatchObject({
        error: { code: 'ERR_REALTIME_CLOSED' },
      })
      expect(await alice.ask({ type: 'ping' })).toMatchObject({ type: 'pong' })
    })

    it('tells of a shutdown before it happens', async () => {
      const alice = (await start([notices])).open('alice')
      alice.session.notifyShutdown('deployment', 750)
      expect(alice.messages).toEqual([
        { type: 'server_shutdown', reason: 'deployment', reconnectAfterMs: 750 },
      ])
    })
  })
})
