import { describe, expect, it } from 'vitest'
import { fromProblem, problemHeaders, statusOf, titleOf, toProblem } from '../../src/http.ts'
import { QuintetError } from '../../src/index.ts'

const failure = new QuintetError('The upload is too large.', {
  code: 'ERR_TEST_LARGE',
  kind: 'too-large',
  details: { limit: 10 },
})

describe('toProblem', () => {
  it('describes an error with the status and title of its kind', () => {
    expect(toProblem(failure, { requestId: 'r-1' })).toEqual({
      type: 'about:blank',
      title: 'Content Too Large',
      status: 413,
      detail: 'The upload is too large.',
      code: 'ERR_TEST_LARGE',
      kind: 'too-large',
      requestId: 'r-1',
      details: { limit: 10 },
    })
  })

  it.each([
    ['details with a BigInt', { details: { balance: 10n } }],
    ['an unknown kind', { kind: 'teapot' as 'conflict' }],
    ['a retryAfter that is no time', { retryAfter: Number.NaN }],
  ])('describes an error with %s as an internal one', (_what, options) => {
    const error = new QuintetError('No.', { code: 'ERR_TEST', kind: 'conflict', ...options })
    expect(toProblem(error)).toMatchObject({ status: 500, code: 'ERR_CORE_INTERNAL', kind: 'internal' })
  })

  it('takes the finer status that a package has for a code', () => {
    const statuses = { ERR_TEST_LARGE: 431 }
    expect(toProblem(failure, { statuses })).toMatchObject({ status: 431, title: titleOf(431) })
    expect(statusOf(new QuintetError('x', { code: 'toString', kind: 'conflict' }), statuses)).toBe(409)
  })

  it('says of an internal error only that there was one', () => {
    const problem = toProblem(new Error('connect postgres://app:hunter2@db'))
    expect(problem).toMatchObject({ status: 500, code: 'ERR_CORE_INTERNAL', kind: 'internal' })
    expect(JSON.stringify(problem)).not.toContain('hunter2')
  })

  it('says when to try again where that may help', () => {
    const unavailable = new QuintetError('x', { code: 'ERR_TEST_DOWN', kind: 'unavailable' })
    expect(problemHeaders(toProblem(unavailable))).toMatchObject({ 'retry-after': '1' })
    expect(problemHeaders(toProblem(failure))).not.toHaveProperty('retry-after')
  })
})

describe('fromProblem', () => {
  it('makes the error that its thrower made', () => {
    const error = fromProblem(JSON.parse(JSON.stringify(toProblem(failure))), { code: 'ERR_TEST' })
    expect(error).toMatchObject({ code: failure.code, kind: failure.kind, details: failure.details })
    expect(error.message).toBe(failure.message)
  })

  it.each([
    [404, 'not-found'],
    [408, 'timeout'],
    [418, 'invalid-input'],
    [502, 'unavailable'],
    [503, 'unavailable'],
    [599, 'internal'],
    [undefined, 'internal'],
  ])('reads an answer %s that is no problem of ours', (status, kind) => {
    expect(fromProblem('<html>', { status, code: 'ERR_TEST' })).toMatchObject({ kind, code: 'ERR_TEST' })
    expect(fromProblem(null, { status, code: 'ERR_TEST' })).toMatchObject({ kind, code: 'ERR_TEST' })
  })

  it('believes no member of the wrong type', () => {
    const error = fromProblem(
      { kind: 'owner', code: 7, detail: {}, details: 'x', retryAfter: '1' },
      { status: 400, code: 'ERR_TEST' },
    )
    expect(error).toMatchObject({ kind: 'invalid-input', code: 'ERR_TEST' })
    expect([error.details, error.retryAfter]).toEqual([undefined, undefined])
  })
})
