import { describe, expect, expectTypeOf, it } from 'vitest'
import { z } from 'zod'
import { createApp, defineProcess, defineSystem, procedure, service, silentLogger } from '../../src/index.ts'
import { callApp, testUser } from '../../src/testing.ts'

const notes = service('notes', {
  add: procedure(
    {
      access: 'authenticated',
      input: z.object({ text: z.string().trim() }),
      output: z.object({ by: z.string() }),
    },
    ({ input, principal }) => ({ by: `${principal.userId}: ${input.text}` }),
  ),
  ping: procedure({ access: 'public' }, () => 'pong'),
  follow: procedure(
    { access: 'public', stream: z.object({ id: z.number() }), resumable: true },
    async function* ({ lastEventId, signal }) {
      for (let id = Number(lastEventId ?? 0) + 1; id < 4 && !signal.aborted; id++) yield { id }
    },
  ),
})
const elsewhere = service('elsewhere', { ping: procedure({ access: 'public' }, () => 'pong') })

const start = () =>
  createApp(
    defineSystem({
      name: 'notes',
      version: '1.0.0',
      processes: [{ name: 'main', module: async () => ({ default: defineProcess({ services: [notes] }) }) }],
    }),
    { logger: silentLogger, env: {} },
  )

describe('callApp', () => {
  it('calls a procedure of an app for a principal, held to its schemas and its access rule', async () => {
    await using app = await start()
    const principal = testUser({ userId: 'ann' })
    const added = callApp(app, notes, 'add', { text: ' hello ' }, { principal })
    expectTypeOf(added).toEqualTypeOf<Promise<{ by: string }>>()
    expect(await added).toEqual({ by: 'ann: hello' })
    await expect(callApp(app, notes, 'add', { text: 'x' })).rejects.toMatchObject({ kind: 'unauthenticated' })
    await expect(callApp(app, notes, 'add', { text: 1 as never }, { principal })).rejects.toMatchObject({
      kind: 'invalid-input',
    })
    expect(await callApp(app, notes, 'ping', undefined)).toBe('pong')
  })

  it('gives the events of a stream, also after one of them, until its caller goes', async () => {
    await using app = await start()
    expect(await Array.fromAsync(callApp(app, notes, 'follow', undefined))).toEqual([
      { id: 1 },
      { id: 2 },
      { id: 3 },
    ])
    const late = callApp(app, notes, 'follow', undefined, { lastEventId: '2' })
    expect(await Array.fromAsync(late)).toEqual([{ id: 3 }])
    const gone = callApp(app, notes, 'follow', undefined, { signal: AbortSignal.abort() })
    await expect(gone.next()).rejects.toMatchObject({ kind: 'canceled' })
  })

  it('knows no procedure that the app has not', async () => {
    await using app = await start()
    expect(() => callApp(app, elsewhere, 'ping', undefined)).toThrow('There is no such procedure.')
  })
})
