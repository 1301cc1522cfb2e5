import { describe, expect, it } from 'vitest'
import { procedure, service } from '@quintet/core'
import { testUser } from '@quintet/core/testing'
import { z } from 'zod'
import { jsonAnswer, sendRaw } from '../support/raw.ts'
import { serve } from '../support/serve.ts'

const notes = service('notes', {
  size: procedure(
    {
      access: 'authenticated',
      input: z.object({ text: z.string() }).optional(),
      output: z.number(),
      maxInputSize: '1kb',
    },
    ({ input }) => input?.text.length ?? 0,
  ),
})

const head = (length: string): string =>
  `POST /rpc/notes/size HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer t\r\nContent-Type: application/json\r\n${length}\r\n\r\n`
const whole = (body: string): string => `${head(`Content-Length: ${String(body.length)}`)}${body}`
const chunked = (body: string): string =>
  `${head('Transfer-Encoding: chunked')}${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`
const textOf = (length: number): string => JSON.stringify({ text: 'x'.repeat(length) })

describe('a body that arrives during the authentication', () => {
  it.each([
    ['of a length', whole(textOf(900)), '900'],
    ['in chunks', chunked(textOf(900)), '900'],
    ['empty', head('Content-Length: 0'), '0'],
    ['empty in chunks', `${head('Transfer-Encoding: chunked')}0\r\n\r\n`, '0'],
  ])('is read, %s', async (_what, request, answer) => {
    await using app = await serve({}, { services: [notes], tokens: { t: testUser() } })
    const said = await sendRaw(app.url, request, /\r\n\r\n.+$/s)
    expect(said).toMatch(/^HTTP\/1\.1 200 /)
    expect(said.endsWith(answer)).toBe(true)
  })

  it('is held to its limit, in chunks too', async () => {
    await using app = await serve({}, { services: [notes], tokens: { t: testUser() } })
    for (const request of [whole(textOf(2_000)), chunked(textOf(2_000))]) {
      const said = await sendRaw(app.url, request, jsonAnswer)
      expect(said).toMatch(/^HTTP\/1\.1 413 /)
    }
  })

  it('leaves the connection to the next request', async () => {
    await using app = await serve({}, { services: [notes], tokens: { t: testUser() } })
    const said = await sendRaw(
      app.url,
      `${whole(textOf(10))}${chunked(textOf(20))}${whole(textOf(30))}`,
      /30$/,
    )
    expect(said.match(/HTTP\/1\.1 200 /g)).toHaveLength(3)
  })
})
