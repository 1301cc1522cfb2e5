import type { ServerResponse } from 'node:http'
import { describe, expect, it } from 'vitest'
import { type Logger, silentLogger } from '@quintet/core'
import type { HttpPlugin } from '@quintet/core/kit'
import type { HttpOptions } from '../../src/index.ts'
import { until } from '../support/raw.ts'
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

/** The ways in which a plugin may write the head of an event stream. */
const heads: Record<string, (response: ServerResponse) => void> = {
  'an object': (response) => void response.writeHead(200, { 'Content-Type': 'text/event-stream' }),
  'a list after a reason': (response) =>
    void response.writeHead(200, 'OK', ['content-type', 'text/event-stream']),
  'setHeader and a first write': (response) => void response.setHeader('content-type', 'text/event-stream'),
}

describe('the event stream of a plugin', () => {
  it.each(Object.entries(heads))(
    'is ended by a drain, with a head of %s',
    async (_what, writeHead) => {
      const plugin: HttpPlugin = {
        name: 'mine',
        start: () => {},
        handle(_request, response) {
          writeHead(response)
          response.write('data: 1\n\n')
          const timer = setInterval(() => response.write(':\n\n'), 20)
          response.once('close', () => clearInterval(timer))
          return true
        },
      }
      await using app = await serve({ plugins: [plugin] })
      const answer = await fetch(`${app.url}/events`)
      const read = answer.text()
      let drained = false
      const limit = new AbortController()
      const drain = app.running.drain('deployment', limit.signal).then(() => (drained = true))
      try {
        expect(await read).toMatch(/^data: 1\n\n/)
        await until(() => drained)
      } finally {
        limit.abort()
        await drain
      }
    },
    10_000,
  )

  it('that begins while the process stops is ended at once', async () => {
    const asked = Promise.withResolvers<ServerResponse>()
    const plugin: HttpPlugin = {
      name: 'mine',
      start: () => {},
      handle(_request, response) {
        asked.resolve(response)
        return true
      },
    }
    await using app = await serve({ plugins: [plugin] })
    const answer = fetch(`${app.url}/events`)
    const response = await asked.promise
    const drain = app.running.drain('deployment', AbortSignal.timeout(8_000))
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write('data: 1\n\n')
    expect(await (await answer).text()).toBe('')
    await drain
  }, 10_000)
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
