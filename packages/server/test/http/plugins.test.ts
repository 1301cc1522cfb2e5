import { describe, expect, it } from 'vitest'
import { type Logger, silentLogger } from '@quintet/core'
import type { HttpPlugin } from '@quintet/core/kit'
import type { HttpOptions } from '../../src/index.ts'
import { serve } from '../support/serve.ts'

/** The options of a server, and what it logs as errors. */
function logged(): { readonly logger: Logger; readonly errors: string[] } {
  const errors: string[] = []
  const logger: Logger = {
    ...silentLogger,
    error: (fields: object) => void errors.push((fields as { err: Error }).err.message),
    child: () => logger,
  }
  return { logger, errors }
}

const answers: Record<string, [handle: () => unknown, message: RegExp]> = {
  'a promise of false': [async () => false, /"mine" must return true or false at once, not a promise/],
  'a promise that fails': [() => Promise.reject(new Error('x')), /not a promise/],
  nothing: [() => undefined, /not undefined/],
  'an object': [() => ({}), /not another object/],
  'an error': [
    () => {
      throw new Error('It broke.')
    },
    /It broke/,
  ],
}

describe('a plugin', () => {
  it.each(Object.entries(answers))(
    'that answers with %s fails its request alone',
    async (_what, [handle, message]) => {
      const { logger, errors } = logged()
      const plugin = { name: 'mine', start: () => {}, handle } as unknown as HttpPlugin
      await using app = await serve({ plugins: [plugin] }, { logger })
      expect((await app.post('/rpc/math/nothing')).status).toBe(500)
      expect(errors).toEqual([expect.stringMatching(message)])
    },
  )
})

describe('http.credentials', () => {
  it.each([
    ['a promise', async () => ({ scheme: 'none' }), /at once, such as noCredentials, not a promise/],
    ['a promise that fails', () => Promise.reject(new Error('x')), /not a promise/],
    ['nothing', () => undefined, /not undefined/],
    [
      'an error',
      () => {
        throw new Error('No cookie jar.')
      },
      /No cookie jar/,
    ],
  ])('that gives %s fails the call, and the log says why', async (_what, credentials, message) => {
    const { logger, errors } = logged()
    await using app = await serve({ credentials } as unknown as HttpOptions, { logger })
    expect((await app.post('/rpc/math/mine')).status).toBe(500)
    expect(errors[0]).toMatch(message)
  })
})
