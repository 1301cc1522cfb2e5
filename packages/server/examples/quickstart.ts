import {
  createApp,
  defineProcess,
  defineSystem,
  procedure,
  route,
  service,
  silentLogger,
} from '@quintet/core'
import { http } from '@quintet/server'
import { createClient, httpLink } from '@quintet/server/client'
import { z } from 'zod'

const greetings = service('greetings', {
  greet: procedure(
    { access: 'public', input: z.object({ name: z.string() }), output: z.object({ text: z.string() }) },
    ({ input }) => ({ text: `Hello ${input.name}` }),
  ),
  count: procedure({ access: 'public', stream: z.object({ id: z.number() }) }, async function* () {
    for (let id = 1; id <= 3; id++) yield { id }
  }),
})

const hello = route({
  method: 'GET',
  pattern: '/hello/:name',
  access: 'public',
  handler: (_request, { params }) => new Response(`Hello ${params['name']}`),
})

const main = { default: defineProcess({ services: [greetings], routes: [hello] }) }

await using app = await createApp(
  defineSystem({
    name: 'example',
    version: '1.0.0',
    processes: [{ name: 'main', module: async () => main, transports: { http: http() } }],
  }),
  { logger: silentLogger },
)

const url = app.transports.get('http')?.url ?? ''
const client = createClient<typeof greetings>(httpLink({ url }))
console.log(await client.greetings.greet({ name: 'Ann' }))
for await (const { id } of client.greetings.count()) console.log(id)
console.log(await (await fetch(`${url}/hello/Bob`)).text())
