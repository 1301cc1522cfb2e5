import { procedure, route, service } from '@quintet/core'
import type { RunningTransport } from '@quintet/core/kit'
import { createTestHost, type TestHost, type TestHostOptions, testUser } from '@quintet/core/testing'
import { z } from 'zod'
import { http, type HttpOptions } from '../../src/index.ts'

/** What {@link serve} serves. */
export const math = service('math', {
  add: procedure(
    {
      access: 'public',
      input: z.object({ a: z.number(), b: z.number() }),
      output: z.object({ sum: z.number() }),
      maxInputSize: '64kb',
    },
    ({ input }) => ({ sum: input.a + input.b }),
  ),
  mine: procedure({ access: 'authenticated', output: z.string() }, ({ principal }) => principal.userId ?? ''),
  nothing: procedure({ access: 'public' }, () => {}),
  echo: procedure({ access: 'public', input: z.looseObject({}) }, ({ input }) => input),
  long: procedure({ access: 'public' }, () => ({ text: 'long '.repeat(4_000) })),
  count: procedure(
    {
      access: 'public',
      input: z.object({ to: z.number() }),
      stream: z.object({ id: z.number() }),
      resumable: true,
    },
    async function* ({ input, lastEventId }) {
      for (let id = Number(lastEventId ?? 0) + 1; id <= input.to; id++) yield { id }
    },
  ),
})

export interface Served extends AsyncDisposable {
  readonly url: string
  readonly host: TestHost
  readonly running: RunningTransport
  /** Posts JSON to a path. */
  post(path: string, body?: unknown, headers?: Record<string, string>): Promise<Response>
}

/** Starts the HTTP transport over a test host with a user `alice`. */
export async function serve(options: HttpOptions = {}, hostOptions: TestHostOptions = {}): Promise<Served> {
  const host = createTestHost({
    services: [math],
    tokens: { alice: testUser({ userId: 'alice' }) },
    ...hostOptions,
  })
  const running = await http(options).start(host)
  const url = running.url ?? ''
  return {
    url,
    host,
    running,
    post: (path, body, headers = {}) =>
      fetch(`${url}${path}`, {
        method: 'POST',
        headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
        ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      }),
    async [Symbol.asyncDispose]() {
      await running.close()
      await host.close()
    },
  }
}

export { route }
