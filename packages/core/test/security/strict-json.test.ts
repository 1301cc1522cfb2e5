import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseStrictJson } from '../../src/kit.ts'

describe('parseStrictJson', () => {
  it.each([
    ['an object', '{"a":[1,{"b":null}],"c":"x:y"}', { a: [1, { b: null }], c: 'x:y' }],
    ['a text with quotes and backslashes', String.raw`{"a\"":"\\","b":"\\\""}`, { 'a"': '\\', b: '\\"' }],
    ['a number', ' 7 ', 7],
    ['the same name in two objects', '[{"a":1},{"a":2}]', [{ a: 1 }, { a: 2 }]],
  ])('reads %s', (_, text, value) => {
    expect(parseStrictJson(text)).toEqual(value)
    expect(parseStrictJson(Buffer.from(text))).toEqual(value)
    expect(parseStrictJson(new TextEncoder().encode(text))).toEqual(value)
  })

  it.each([
    ['a member twice', '{"a":1,"a":1}', 'has a member that is given twice'],
    [
      'a member twice, written differently',
      String.raw`{"a":1,"\u0061":1}`,
      'has a member that is given twice',
    ],
    ['a member twice, deep inside', '[{"x":{"a":1,"b":{},"a":{"c":1}}}]', 'has a member that is given twice'],
    [
      'an object that another one replaces',
      '{"a":{"b":1},"a":{"b":1,"c":2}}',
      'has a member that is given twice',
    ],
    ['__proto__', '{"__proto__":{"isAdmin":true}}', 'has a member named __proto__'],
    ['__proto__, escaped', String.raw`{"__pr\u006fto__":1}`, 'has a member named __proto__'],
    ['a byte order mark', '\uFEFF{}', 'is not JSON'],
    ['two values', '{} {}', 'is not JSON'],
    ['nothing', '', 'is not JSON'],
    ['too deep a nest', `${'['.repeat(65)}${']'.repeat(65)}`, 'nests deeper than 64 levels'],
    ['a nest that would end the stack', '['.repeat(1_000_000), 'nests deeper than 64 levels'],
  ])('refuses %s', (_, text, message) => {
    expect(() => parseStrictJson(text)).toThrow(new SyntaxError(message))
  })

  it('refuses bytes that are not UTF-8', () => {
    expect(() => parseStrictJson(Buffer.from([0x22, 0xff, 0x22]))).toThrow('is not UTF-8')
  })

  it('never quotes the text', () => {
    expect(() => parseStrictJson('{"password": hunter2}')).toThrow(/^is not JSON$/)
  })

  it('holds the value to an object and to a depth where it is told to', () => {
    expect(() => parseStrictJson('[]', { object: true })).toThrow('is not a JSON object')
    expect(() => parseStrictJson('null', { object: true })).toThrow('is not a JSON object')
    expect(parseStrictJson('{}', { object: true })).toEqual({})
    expect(() => parseStrictJson('[[1]]', { maxDepth: 1 })).toThrow('nests deeper than 1 levels')
  })

  it('reads what JSON.stringify writes', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 8 }), (value) => {
        const text = JSON.stringify(value)
        fc.pre(!text.includes('__proto__'))
        expect(parseStrictJson(text)).toEqual(JSON.parse(text))
      }),
    )
  })
})
