import { inspect } from 'node:util'
import { describe, expect, expectTypeOf, it } from 'vitest'
import { Secret } from '../../src/index.ts'
import { option, readOptions, type Option } from '../../src/kit.ts'

/** What one option makes of a value. */
function read<Value>(reader: Option<Value>, given?: unknown): Value {
  return readOptions<unknown, { it: Option<Value> }>({ it: given }, { it: reader }, 'x').it as Value
}

describe('readOptions', () => {
  const spec = {
    port: option.port(8080),
    timeout: option.delay('30s'),
    mode: option.oneOf(['fast', 'safe'], 'safe'),
    retry: option.nested({ attempts: option.count(2), pause: option.duration('1s') }),
    trust: option.list(option.address()),
  }

  it('fills in every default, and counts undefined as not given', () => {
    const expected = {
      port: 8080,
      timeout: 30_000,
      mode: 'safe',
      retry: { attempts: 2, pause: 1_000 },
      trust: [],
    }
    expect(readOptions({}, spec, 'http')).toEqual(expected)
    expect(readOptions<object, typeof spec>(undefined, spec, 'http')).toEqual(expected)
    expect(readOptions({ port: undefined, retry: { pause: undefined } }, spec, 'http')).toEqual(expected)
  })

  it('returns what was given, read and frozen, and leaves the object of the caller as it is', () => {
    const given = { timeout: '5m', retry: { attempts: 0 }, trust: ['10.0.0.0/8'] } as const
    const options = readOptions<unknown, typeof spec>(given, spec, 'http')
    expect(options).toMatchObject({ timeout: 300_000, retry: { attempts: 0 }, trust: ['10.0.0.0/8'] })
    expect(Object.isFrozen(options) && Object.isFrozen(options.retry) && Object.isFrozen(options.trust)).toBe(
      true,
    )
    expect(given).toEqual({ timeout: '5m', retry: { attempts: 0 }, trust: ['10.0.0.0/8'] })
  })

  it('names every problem at once, its path first, and the nearest known key', () => {
    const given = {
      prot: 1,
      timeout: 'soon',
      mode: 'save',
      retry: { atempts: 1, attempts: -1 },
      trust: [1, '::1'],
    }
    expect(() => readOptions<unknown, typeof spec>(given, spec, 'http')).toThrow(
      new TypeError(
        [
          'http: unknown key "prot". Did you mean "port"?',
          `http.timeout: "soon" is not a duration. Give milliseconds, or a literal such as '30s', '5m' or '250ms'.`,
          `http.mode: "save" is not one of 'fast', 'safe'. Did you mean 'safe'?`,
          'http.retry: unknown key "atempts". Did you mean "attempts"?',
          'http.retry.attempts: -1 is not a whole number of at least 0.',
          'http.trust[0]: 1 is not an IP address or a network such as "10.0.0.0/8".',
        ].join('\n'),
      ),
    )
  })

  it('needs no path, and takes a title for several problems together', () => {
    const attempt = (): unknown =>
      readOptions<unknown, typeof spec>({ port: 'a', x: 1 }, spec, '', { title: 'The system is not valid' })
    expect(attempt).toThrow(
      'The system is not valid:\n- unknown key "x". Known keys: port, timeout, mode, retry, trust.\n- port: "a" is not a port from 0 to 65535.',
    )
  })

  it.each([['a text'], [7], [null], [[]], [() => {}]])('refuses %s in place of options', (given) => {
    expect(() => readOptions<unknown, typeof spec>(given, spec, 'http')).toThrow(
      /^http: .+ is not an object\.$/,
    )
  })

  it('checks options together once each of them is as it should be', () => {
    const range = { min: option.count(1), max: option.count(5) }
    const within = (given: { readonly min?: unknown; readonly max?: unknown }): unknown =>
      readOptions(given, range, 'pool', {
        check: ({ min, max }, note) => {
          if (min > max) note('max', `${max} is below min (${min}).`)
          if (min === 3) note('', 'three is no good.')
        },
      })
    expect(within({ min: 2 })).toEqual({ min: 2, max: 5 })
    expect(() => within({ min: 6 })).toThrow('pool.max: 5 is below min (6).')
    expect(() => within({ min: 3 })).toThrow(/^pool: three is no good\.$/)
    expect(() => within({ min: 6, max: 'a' })).toThrow(
      /^pool\.max: "a" is not a whole number of at least 0\.$/,
    )
  })

  it('types what it returns, and holds the spec to every option of an interface', () => {
    interface Options {
      readonly port?: number
      readonly mode?: 'fast' | 'safe'
    }
    const given: Options = {}
    const options = readOptions(given, spec, 'http')
    expectTypeOf(options.mode).toEqualTypeOf<'fast' | 'safe'>()
    expectTypeOf(options.retry.attempts).toEqualTypeOf<number>()
    expectTypeOf(options.trust).toEqualTypeOf<readonly string[]>()
    // @ts-expect-error the spec lacks `mode`
    readOptions(given, { port: option.port(1) }, 'http')
  })
})

describe('option', () => {
  it.each<[string, Option<unknown>, unknown, unknown]>([
    ['count', option.count(), 7, 7],
    ['count with bounds', option.count(1, { min: -3, max: 3 }), -3, -3],
    ['number', option.number(), 0.5, 0.5],
    ['port', option.port(), 65_535, 65_535],
    ['duration', option.duration(), '60d', 5_184_000_000],
    ['delay', option.delay(), '1h', 3_600_000],
    ['delay with a bound', option.delay('1s', { min: '10ms' }), 10, 10],
    ['size', option.size(), '2kb', 2_048],
    ['text', option.text(), 'a b', 'a b'],
    ['name', option.name(), 'media-2', 'media-2'],
    ['oneOf', option.oneOf(['a', 'b']), 'b', 'b'],
    ['boolean', option.boolean(), false, false],
    ['host', option.host(), '::1', '::1'],
    ['address, IPv4', option.address(), '192.168.0.1', '192.168.0.1'],
    ['address, IPv6 network', option.address(), 'fd00::/8', 'fd00::/8'],
    ['list', option.list(option.count(), { min: 1 }), [1, 2], [1, 2]],
    ['record', option.record(option.count()), { a: 1, b: undefined }, { a: 1 }],
    ['either, the first', option.either(option.count(), option.text()), 1, 1],
    ['either, the second', option.either(option.count(), option.text()), 'one', 'one'],
    ['orFalse', option.delay().orFalse(), false, false],
    ['map', option.count().map((value) => value * 2), 4, 8],
    ['json', option.json(), { a: [1, null, 'x', { b: true }] }, { a: [1, null, 'x', { b: true }] }],
    [
      'nested by its shorthand',
      option.nested({ url: option.text() }, { shorthand: 'url' }),
      'a',
      { url: 'a' },
    ],
    [
      'nested in full',
      option.nested({ url: option.text() }, { shorthand: 'url' }),
      { url: 'a' },
      { url: 'a' },
    ],
  ])('%s takes what it is for', (_, reader, given, expected) => {
    expect(read(reader, given)).toEqual(expected)
  })

  it.each<[string, Option<unknown>, unknown, string]>([
    ['count', option.count(), 1.5, '1.5 is not a whole number of at least 0.'],
    ['count', option.count(1, { min: 1, max: 9 }), 10, '10 is not a whole number from 1 to 9.'],
    ['count', option.count(0, { min: Number.MIN_SAFE_INTEGER }), 'a', '"a" is not a whole number.'],
    ['number', option.number(1, { max: 1 }), NaN, 'NaN is not a number of at most 1.'],
    ['port', option.port(), 65_536, '65536 is not a port from 0 to 65535.'],
    ['delay', option.delay(), '60d', '"60d" is longer than a timer can wait. Give 24 days at most.'],
    ['delay', option.delay('1s', { min: 1 }), 0, '0 ms is too small. Give 1 ms or more.'],
    [
      'size',
      option.size('1mb', { max: '2mb' }),
      '3mb',
      '3145728 bytes is too large. Give 2097152 bytes or less.',
    ],
    ['text', option.text(), '', '"" is not a text that is not empty.'],
    ['text', option.text('/', { pattern: /^\//, expected: 'a path' }), 'a', '"a" is not a path.'],
    ['boolean', option.boolean(), 1, '1 is not true or false.'],
    ['host', option.host(), 'a/b', '"a/b" is not a host name or an IP address.'],
    ['address', option.address(), '256.0.0.1', '"256.0.0.1" is not an IP address'],
    ['address', option.address(), '10.0.0.0/33', '"10.0.0.0/33" is not an IP address'],
    ['address', option.address(), '10.0.0.0/8/8', '"10.0.0.0/8/8" is not an IP address'],
    ['address', option.address(), '::1/129', '"::1/129" is not an IP address'],
    ['list', option.list(option.count()), 'a', 'a text is not a list.'],
    ['list', option.list(option.count(), { min: 1 }), [], 'has 0 of at least 1'],
    ['list', option.list(option.text(), { unique: (item) => item }), ['a', 'a'], 'holds "a" twice.'],
    ['record', option.record(option.count(), { key: option.name() }), { A: 1 }, '"A" is not a name'],
    ['function', option.function(), 1, '1 is not a function.'],
    ['signal', option.signal(), {}, 'an object is not an AbortSignal.'],
    [
      'either',
      option.either(option.count(), option.function()),
      'x',
      'a text is not a whole number of at least 0 or a function.',
    ],
    ['orFalse', option.delay().orFalse(), true, 'true is not a duration'],
    ['json', option.json(), { a: () => {} }, 'an object is not plain data'],
    ['json', option.json(), new Date(), 'an object is not plain data'],
    ['missing', option.count(), undefined, 'is missing. Give a whole number of at least 0.'],
    ['required', option.count(1).required(), undefined, 'is missing. Give a whole number of at least 0.'],
  ])('%s refuses the rest: %#', (_, reader, given, message) => {
    expect(() => read(reader, given)).toThrow(TypeError)
    expect(() => read(reader, given)).toThrow(message)
    expect(() => read(reader, given)).toThrow(/^x/)
  })

  it('is undefined where an optional one is not given', () => {
    expect(read(option.count().optional())).toBeUndefined()
    expect(read(option.nested({ a: option.count() }).optional())).toBeUndefined()
    expect(read(option.signal())).toBeUndefined()
  })

  it('reads nested options that are not given by their defaults, and misses those without', () => {
    expect(read(option.nested({ a: option.count(1) }))).toEqual({ a: 1 })
    expect(() => read(option.nested({ a: option.count() }))).toThrow('x.it.a: is missing.')
  })

  it('takes a collaborator by its methods, as it is', () => {
    const redis = { mget: () => Promise.resolve([]) }
    const reader = option.collaborator<typeof redis>(['mget'], 'an ioredis client')
    expect(read(reader, redis)).toBe(redis)
    expect(() => read(reader, {})).toThrow('x.it: is not an ioredis client: it has no mget().')
    expect(() => read(reader, 'redis://:hunter2@host')).toThrow('x.it: a text is not an ioredis client.')
    expect(() => read(reader)).toThrow('x.it: is missing. Give an ioredis client.')
  })

  it('lets a package add a kind of its own', () => {
    const even = option.parsed('an even number', (given, path) => {
      if (typeof given === 'number' && given % 2 === 0) return given / 2
      throw new TypeError(`${path}: is odd.`)
    })
    expect(read(even, 4)).toBe(2)
    expect(() => read(even, 3)).toThrow('x.it: is odd.')
    const broken = option.parsed('anything', () => {
      throw new RangeError('a bug')
    })
    expect(() => read(broken, 3)).toThrow(RangeError)
  })
})

describe('secrets among options', () => {
  const secret = option.secretText({ minLength: 16 })
  const text = 'correct-horse-battery'

  it('are read from a text or from what reveals one, and do not show themselves', () => {
    const options = readOptions<unknown, { key: typeof secret }>({ key: text }, { key: secret }, 'auth')
    expect(options.key.reveal()).toBe(text)
    expect(inspect(options) + JSON.stringify(options)).not.toContain(text)
    expect(read(secret, new Secret(text)).reveal()).toBe(text)
    expect(read(secret, { reveal: () => text }).reveal()).toBe(text)
  })

  it.each<[string, Option<unknown>, unknown]>([
    ['too short', option.secretText({ minLength: 64 }), text],
    ['of the wrong form', secret, [text]],
    ['in place of a list', option.list(secret), text],
    ['in place of an object', option.nested({ secret }), text],
    ['in place of a record', option.record(secret), text],
    ['among two kinds', option.either(option.secretText({ minLength: 64 }), option.count()), text],
    ['in an object where a text belongs', option.text(), { password: text }],
    ['in a URL', option.url(undefined, { protocols: ['https:'] }), `redis://user:${text}@host/0`],
    ['in what is no URL', option.url(), `redis//user:${text}@host/0`],
  ])('never stand in a message: %s', (_, reader, given) => {
    let message = ''
    try {
      read(reader, given)
    } catch (error) {
      message = String(error)
    }
    expect(message).toMatch(/^TypeError: x/)
    expect(message).not.toContain(text)
  })
})

describe('option.url', () => {
  it('takes a URL of the schemes, or only an origin', () => {
    expect(read(option.url(), 'https://a.example/b').pathname).toBe('/b')
    const origin = option.url(undefined, { protocols: ['http:', 'https:'], origin: true })
    expect(read(origin, 'http://127.0.0.1:3002').origin).toBe('http://127.0.0.1:3002')
    expect(() => read(origin, 'http://a.example/b')).toThrow(
      'x.it: "http://a.example" is not an origin, without path or credentials, that starts with http:// or https://.',
    )
  })
})
