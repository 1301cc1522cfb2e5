import { createApp, defineProcess, defineSystem, procedure, service, silentLogger } from '@quintet/core'
import { callProcedure, findProcedure, noCredentials } from '@quintet/core/kit'
import { z } from 'zod'

const greetings = service('greetings', {
  hello: procedure(
    { access: 'public', input: z.object({ name: z.string() }) },
    ({ input }) => `Hello, ${input.name}!`,
  ),
})

const system = defineSystem({
  name: 'greeter',
  version: '1.0.0',
  processes: [{ name: 'main', module: async () => ({ default: defineProcess({ services: [greetings] }) }) }],
})

await using app = await createApp(system, { logger: silentLogger })
const hello = findProcedure(app, 'greetings.hello')
const call = {
  operation: hello.operation,
  credentials: noCredentials,
  requestId: '1',
  signal: AbortSignal.timeout(5_000),
}
console.log(await callProcedure(app, hello.procedure, call, () => ({ name: 'Ada' })))
