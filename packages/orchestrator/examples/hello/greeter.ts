import { defineProcess, defineSystem, procedure, service } from '@quintet/core'
import { http } from '@quintet/server'

const greeter = service('greeter', {
  say: procedure({ access: 'public' }, () => 'hello, world'),
})

export default defineSystem({
  name: 'greeter',
  version: '1.0.0',
  processes: [
    {
      name: 'http',
      module: async () => ({ default: defineProcess({ services: [greeter] }) }),
      transports: { http: http({ port: 0 }) },
    },
  ],
})
