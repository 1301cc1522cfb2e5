import { inspect } from 'node:util'
import { ReplyError } from 'ioredis'
import { isQuintetError } from '@quintet/core'
import { describe, expect, it } from 'vitest'
import { isRedisUnavailable, RedisError } from '../src/index.ts'
import { describeFailure } from '../src/errors.ts'
import { toRedisError } from '../src/kit.ts'

const reply = (message: string): Error => new (ReplyError as new (message: string) => Error)(message)

describe('toRedisError', () => {
  it.each([
    ["Stream isn't writeable and enableOfflineQueue options is false", 'ERR_REDIS_UNAVAILABLE'],
    ["Cluster isn't ready and enableOfflineQueue options is false", 'ERR_REDIS_UNAVAILABLE'],
    ['Command timed out', 'ERR_REDIS_UNAVAILABLE'],
    ['Command aborted due to connection close', 'ERR_REDIS_UNAVAILABLE'],
    ['Reached the max retries per request limit (which is 0).', 'ERR_REDIS_UNAVAILABLE'],
    ['connect ECONNREFUSED 127.0.0.1:6379', 'ERR_REDIS_UNAVAILABLE'],
    ['Connection is closed.', 'ERR_REDIS_CLOSED'],
  ])('reads "%s" as %s', (message, code) => {
    expect(toRedisError(new Error(message))).toMatchObject({ code })
  })

  it.each([
    ["OOM command not allowed when used memory > 'maxmemory'.", 'ERR_REDIS_UNAVAILABLE'],
    ['LOADING Redis is loading the dataset in memory', 'ERR_REDIS_UNAVAILABLE'],
    ["READONLY You can't write against a read only replica.", 'ERR_REDIS_UNAVAILABLE'],
    ['MASTERDOWN Link with MASTER is down', 'ERR_REDIS_UNAVAILABLE'],
    ['CLUSTERDOWN The cluster is down', 'ERR_REDIS_UNAVAILABLE'],
    ['BUSY Redis is busy running a script.', 'ERR_REDIS_UNAVAILABLE'],
    ['WRONGPASS invalid username-password pair', 'ERR_REDIS_REFUSED'],
    ['NOAUTH Authentication required.', 'ERR_REDIS_REFUSED'],
    ['NOPERM this user has no permissions', 'ERR_REDIS_REFUSED'],
  ])('reads the reply "%s" as %s', (message, code) => {
    const error = toRedisError(reply(message))
    expect(error).toMatchObject({ code, cause: { message } })
    expect(isQuintetError(error)).toBe(true)
  })

  it('passes on other replies, other errors and other values', () => {
    for (const thrown of [
      reply('WRONGTYPE Operation against a key'),
      new TypeError('mine'),
      'text',
      undefined,
    ]) {
      expect(toRedisError(thrown)).toBe(thrown)
    }
    const own = new RedisError('ERR_REDIS_LOCK_HELD', 'held')
    expect(toRedisError(own)).toBe(own)
  })

  it('removes the arguments of the command', () => {
    const error = Object.assign(reply('WRONGTYPE'), { command: { name: 'set', args: ['key', 'a secret'] } })
    expect(inspect(toRedisError(error))).not.toContain('a secret')
    expect(error.command).toEqual({ name: 'set' })
  })

  it('removes the arguments that a server repeats, also within a transaction', () => {
    const text = "ERR unknown command 'HSETEX', with args beginning with: 'sess' 's3cret' "
    const one = reply(text)
    const transaction = Object.assign(reply('EXECABORT Transaction discarded.'), {
      previousErrors: [reply(text)],
    })
    for (const error of [one, transaction]) {
      expect(inspect(toRedisError(error), { showHidden: true, depth: 9 })).not.toContain('s3cret')
      expect(toRedisError(error)).toBe(error)
    }
    expect(one.message).toBe("ERR unknown command 'HSETEX'")
  })
})

describe('replies of the server', () => {
  it.each([
    [
      "ERR Error in ACL SETUSER modifier 'pa'ss': Syntax error",
      ['SETUSER', 'bob', "pa'ss"],
      "ERR Error in ACL … modifier '…': Syntax error",
    ],
    ["ERR wrong number of arguments for 'set' command", ['a-long-key'], undefined],
    ["OOM command not allowed when used memory > 'maxmemory'.", ['k', 'v'], undefined],
    ['WRONGTYPE Operation against a key holding the wrong kind of value', ['a', 'WRONGTYPE'], undefined],
    [
      'ERR invalid longitude,latitude pair 200.500000,10.250000',
      ['g', '200.5', '10.25'],
      'ERR invalid longitude,latitude pair …,…',
    ],
    [
      "ERR user_script:1: '=' expected near 'pass'",
      ['return pass ~'],
      "ERR user_script:1: '=' expected near '…'",
    ],
  ])('lose the arguments of the command: %s', (message, args, expected = message) => {
    const error = Object.assign(reply(message), { command: { name: 'any', args } })
    toRedisError(error)
    expect(error.message).toBe(expected)
    expect(error.stack).toContain(expected)
  })
})

describe('isRedisUnavailable', () => {
  it('is true for what ioredis throws, and for ours, when the server could not serve', () => {
    expect(isRedisUnavailable(new Error('Command timed out'))).toBe(true)
    expect(isRedisUnavailable(new Error('Connection is closed.'))).toBe(true)
    expect(isRedisUnavailable(new RedisError('ERR_REDIS_UNAVAILABLE', 'away'))).toBe(true)
    expect(isRedisUnavailable(new RedisError('ERR_REDIS_LOCK_HELD', 'held'))).toBe(false)
    expect(isRedisUnavailable(reply('WRONGTYPE'))).toBe(false)
    expect(isRedisUnavailable(undefined)).toBe(false)
  })
})

describe('describeFailure', () => {
  it('gives the innermost reason in one line', () => {
    expect(describeFailure(toRedisError(new Error('Command timed out')))).toBe('Command timed out')
    const both = new AggregateError([
      new Error('connect ECONNREFUSED ::1:1'),
      new Error('connect ECONNREFUSED 127.0.0.1:1'),
    ])
    expect(describeFailure(both)).toBe('connect ECONNREFUSED ::1:1; connect ECONNREFUSED 127.0.0.1:1')
    expect(describeFailure(Object.assign(new Error(''), { code: 'EPIPE' }))).toBe('EPIPE')
    expect(describeFailure('text')).toBe('unknown failure')
  })
})
