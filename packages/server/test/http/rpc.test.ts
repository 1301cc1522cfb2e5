import { procedure, service } from '@quintet/core'
import { createTestHost, testUser } from '@quintet/core/testing'
import { expect, it } from 'vitest'
import { z } from 'zod'
import { createClient, httpLink } from '../../src/client.ts'
import { http } from '../../src/index.ts'

const math = service('math', {
  add: procedure({ access: 'authenticated', input: z.object({ a: z.number(), b: z.number() }), output: z.object({ sum: z.number() }) }, ({ input }) => ({ sum: input.a + input.b })),
  count: procedure({ access: 'public', input: z.object({ to: z.number() }), stream: z.object({ id: z.number() }) }, async function* ({ input }) { for (let id = 1; id <= input.to; id++) yield { id } }),
  nothing: procedure({ access: 'public' }, () => {}),
})
it('smokes', async () => {
  await using host = createTestHost({ services: [math], tokens: { alice: testUser() } })
  const running = await http().start(host)
  const client = createClient<typeof math>(httpLink({ url: running.url!, token: 'alice' }))
  expect(await client.math.add({ a: 1, b: 2 })).toEqual({ sum: 3 })
  expect(await client.math.nothing()).toBe(undefined)
  const seen = []
  for await (const { id } of client.math.count({ to: 3 })) seen.push(id)
  expect(seen).toEqual([1, 2, 3])
  const stored = client.math.count({ to: 2 })
  await new Promise((r) => setTimeout(r, 20))
  for await (const { id } of stored) seen.push(id)
  expect(seen).toEqual([1, 2, 3, 1, 2])
  const anonymous = createClient<typeof math>(httpLink({ url: running.url! }))
  await expect(anonymous.math.add({ a: 1, b: 2 })).rejects.toMatchObject({ kind: 'unauthenticated' })
  await expect(anonymous.math.count({ to: 'x' as never })).rejects.toMatchObject({ kind: 'invalid-input' })
  const doc = await (await fetch(running.url + '/openapi.json')).json()
  console.log(JSON.stringify(doc).slice(0, 500))
  console.log(await (await fetch(running.url + '/docs')).text().then(t => t.slice(0, 100)))
  await running.drain('shutdown', AbortSignal.timeout(1000))
  await running.close()
})
