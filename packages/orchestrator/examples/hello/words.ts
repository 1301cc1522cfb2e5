import { defineProcess, defineSystem, procedure, service } from '@quintet/core'
import { http } from '@quintet/server'

const words = service('words', {
  say: procedure({ access: 'public' }, () => 'hello'),
})

export default defineSystem({
  name: 'words',
  version: '1.0.0',
  processes: [
    {
      name: 'http',
      module: async () => ({ default: defineProcess({ services: [words] }) }),
      transports: { http: http({ port: 0 }) },
    },
  ],
})
