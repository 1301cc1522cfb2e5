import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import {
  channel,
  channelDefaults,
  channels,
  channelsDefaults,
  createPublisher,
  type ChannelsOptions,
} from '../../src/index.ts'
import { parseChannelPattern } from '../../src/channel/channel-pattern.ts'
import { topicKeys } from '../../src/topic/topic-keys.ts'

describe('parseChannelPattern', () => {
  it.each([
    ['notices', 'notices', {}],
    ['rooms/:room', 'rooms/7', { room: '7' }],
    ['rooms/:room/typing', 'rooms/a.b/typing', { room: 'a.b' }],
    [':kind/:id', 'x/y', { kind: 'x', id: 'y' }],
    ['a.b', 'a.b', {}],
  ])('%s matches %s', (pattern, name, params) => {
    expect(parseChannelPattern(pattern).match(name)).toEqual(params)
  })

  it.each([
    ['notices', 'notices2'],
    ['rooms/:room', 'rooms/1/2'],
    ['rooms/:room', 'rooms/'],
    ['rooms/:room', 'rooms/a b'],
    ['a.b', 'axb'],
    ['notices', '__proto__'],
  ])('%s does not match %s', (pattern, name) => {
    expect(parseChannelPattern(pattern).match(name)).toBeUndefined()
  })

  it.each(['', '/a', 'a/', 'a//b', 'a b', ':', ':1', 'a/*', 'a{b}', 'a:b', ':x/:x', 7])(
    'refuses %j',
    (pattern) => {
      expect(() => parseChannelPattern(pattern)).toThrow(TypeError)
    },
  )
})

describe('topicKeys', () => {
  it('never gives two tenants the same key, whatever their ids and the names', () => {
    const ids = ['a', 'b', 'a:b', 'all', 't.a', 'a}', '{a', 'a%3Ab', 'ä', null]
    const names = ['x', 'a.x', 't.a', 'all', 'b/x']
    const redis = { eval: async () => [] }
    const keys = ids.flatMap((id) => names.map((name) => topicKeys(redis, 'rt', id, name).feed))
    expect(new Set(keys).size).toBe(keys.length)
  })
})

describe('channel', () => {
  it('fills in the exported defaults', () => {
    expect(channel('a', { access: 'authenticated' })).toMatchObject({
      scope: channelDefaults.scope,
      history: { length: 1_000, maxAge: 600_000 },
      maxMessageSize: 65_536,
      maxEventSize: 262_144,
      presence: false,
      send: undefined,
      subscribe: { surface: 'message', name: 'subscribe a', access: 'authenticated', timeout: 30_000 },
    })
  })

  const wrong: readonly (readonly [string, () => unknown, string])[] = [
    ['no access rule', () => channel('a', {} as never), 'declares no access rule'],
    [
      'an unknown option',
      () => channel('a', { access: 'authenticated', acess: 1 } as never),
      'Did you mean "access"?',
    ],
    ['a public channel of a tenant', () => channel('a', { access: 'public' }), "Add scope: 'global'"],
    [
      'presence of the public',
      () => channel('a', { access: 'public', scope: 'global', presence: true }),
      'presence',
    ],
    [
      'a handler without a schema',
      () => channel('a', { access: 'authenticated', onMessage: () => 1 }),
      'needs a schema',
    ],
    ['an unknown scope', () => channel('a', { access: 'authenticated', scope: 'user' as never }), 'scope'],
    [
      'a history of nothing',
      () => channel('a', { access: 'authenticated', history: { length: 0 } }),
      'history.length: 0',
    ],
    [
      'a history of no time',
      () => channel('a', { access: 'authenticated', history: { maxAge: 5 } }),
      'history.maxAge',
    ],
    [
      'an unknown history option',
      () => channel('a', { access: 'authenticated', history: { size: 5 } as never }),
      'unknown key "size"',
    ],
    [
      'a size that is none',
      () => channel('a', { access: 'authenticated', maxMessageSize: 'x' as never }),
      'maxMessageSize',
    ],
    ['no options', () => channel('a', undefined as never), 'declares no access rule'],
    ['options that are none', () => channel('a', null as never), 'channel "a": null is not an object'],
    ...(
      [
        ['presence', 'no'],
        ['authorize', true],
        ['authorize', false],
        ['message', {}],
        ['onMessage', 'x'],
        ['freshness', 'lax'],
        ['history', null],
        ['description', 5],
        ['maxMessageSize', 0],
        ['maxEventSize', 0],
      ] as const
    ).map(
      ([name, value]) =>
        [
          `${name}: ${JSON.stringify(value)}`,
          () => channel('a', { access: 'authenticated', [name]: value } as never),
          `channel "a".${name}`,
        ] as const,
    ),
  ]
  it.each(wrong)('refuses %s', (_name, define, message) => {
    expect(define).toThrow(message)
    expect(define).toThrow(TypeError)
  })
})

describe('channels', () => {
  const redis = { eval: async () => [], duplicate: () => redis } as unknown as Exclude<
    ChannelsOptions['redis'],
    (services: never) => unknown
  >
  const all = [channel('a', { access: 'authenticated', message: z.object({}) })]

  it('shows its operations', () => {
    expect(channels({ redis, channels: all }).operations?.map(({ name }) => name)).toEqual([
      'subscribe a',
      'send a',
    ])
    expect(channelsDefaults.maxSubscriptions).toBe(100)
  })

  const wrong: readonly (readonly [string, Record<string, unknown>, string])[] = [
    ['no Redis', { channels: all }, 'channels.redis'],
    ['no channels', { redis, channels: [] }, 'channels.channels'],
    ['two of one pattern', { redis, channels: [...all, ...all] }, 'channels.channels: holds "a" twice'],
    ['what is no channel', { redis, channels: [{}] }, 'channels.channels[0]: is not what channel() returns'],
    [
      'two patterns of the same channels',
      {
        redis,
        channels: [
          channel('r/:a', { access: 'authenticated' }),
          channel('r/:b', { access: 'authenticated' }),
        ],
      },
      '"r/:a" and "r/:b" match the same channels',
    ],
    [
      'two patterns that cross',
      {
        redis,
        channels: [
          channel('r/:a/x', { access: 'authenticated' }),
          channel('r/s/:b', { access: 'authenticated' }),
        ],
      },
      '"r/:a/x" and "r/s/:b" match the same channels',
    ],
    ['an unknown option', { redis, channels: all, maxSubscription: 1 }, 'Did you mean "maxSubscriptions"?'],
    ['an unknown policy', { redis, channels: all, slowConsumer: { policy: 'x' } }, 'slowConsumer.policy'],
    ['no room', { redis, channels: all, maxPending: 0 }, 'channels.maxPending: 0'],
    ['no time for presence', { redis, channels: all, presenceTtl: 1 }, 'channels.presenceTtl'],
  ]
  it.each(wrong)('refuses %s', (_name, options, message) => {
    expect(() => channels(options as unknown as ChannelsOptions)).toThrow(message)
  })

  const wrongPublishers: readonly (readonly [string, Record<string, unknown>, string])[] = [
    ['no Redis', {}, 'publisher.redis: is missing'],
    ['a Redis that is none', { redis: {} }, 'publisher.redis'],
    ['a prefix that is no text', { redis, prefix: 7 }, 'publisher.prefix'],
    ['an empty prefix', { redis, prefix: '' }, 'publisher.prefix'],
    ['channels that are texts', { redis, channels: ['news'] }, 'publisher.channels[0]'],
    ['one channel', { redis, channels: all[0] }, 'publisher.channels'],
    ['an unknown option', { redis, chanels: all }, 'Did you mean "channels"?'],
  ]
  it.each(wrongPublishers)('has no publisher with %s', (_name, options, message) => {
    expect(() => createPublisher(options as never)).toThrow(message)
    expect(() => createPublisher(options as never)).toThrow(TypeError)
  })

  it('has a publisher that knows whose a channel is', async () => {
    const publisher = createPublisher({ redis, channels: all })
    await expect(publisher.publish('a', { tenantId: null }, 1)).rejects.toThrow('belongs to a tenant')
    await expect(publisher.publish('b', { tenantId: 'x' }, 1)).rejects.toMatchObject({
      code: 'ERR_REALTIME_UNKNOWN_CHANNEL',
    })
    await expect(publisher.publish('a b', { tenantId: 'x' }, 1)).rejects.toMatchObject({
      code: 'ERR_REALTIME_BAD_MESSAGE',
    })
    await expect(publisher.publish('a', { tenantId: 'x' }, undefined)).rejects.toMatchObject({
      code: 'ERR_REALTIME_BAD_MESSAGE',
    })
    await expect(publisher.publish('a', { tenantId: '' }, 1)).rejects.toThrow(TypeError)
  })
})
