import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type BinaryClientLink,
  createApp,
  defineProcess,
  defineSystem,
  procedure,
  service,
  silentLogger,
} from '@quintet/core'
import { http } from '@quintet/server'
import { createClient, httpLink } from '@quintet/server/client'
import { createLinks } from '@quintet/server/link'
import { z } from 'zod'

const bytes = z.instanceof(Uint8Array)

// What the worker answers to; the link carries the bytes as they are.
const images = service('images', {
  invert: procedure({ access: 'public', input: bytes, output: bytes, maxInputSize: '8mb' }, ({ input }) =>
    input.map((value) => 255 - value),
  ),
})

interface Services {
  readonly sibling: (process: string) => BinaryClientLink
}

const gallery = service('gallery', {
  negative: procedure({ access: 'public', input: z.array(z.number()) }, async ({ input, services }) => {
    const { sibling } = services as Services
    const client = createClient<typeof images>(sibling('worker'))
    return [...(await client.images.invert(Uint8Array.from(input)))]
  }),
})

const system = defineSystem({
  name: 'gallery',
  version: '1.0.0',
  setup: ({ sibling }): Services => ({ sibling }),
  processes: [
    {
      name: 'http',
      module: async () => ({ default: defineProcess({ services: [gallery] }) }),
      transports: { http: http() },
      topology: { access: ['worker'] },
    },
    {
      name: 'worker',
      module: async () => ({ default: defineProcess({ services: [images] }) }),
      topology: { expose: true },
    },
  ],
})

// The supervisor does this for each process; both share the folder and the secret.
const directory = await mkdtemp(join(tmpdir(), 'links-'))
const links = (process: string) =>
  createLinks({ directory, secret: 'known to this deployment alone', system: system.name, process })

const worker = await createApp(system, { process: 'worker', links: links('worker'), logger: silentLogger })
const front = await createApp(system, { process: 'http', links: links('http'), logger: silentLogger })

const client = createClient<typeof gallery>(httpLink({ url: front.transports.get('http')?.url ?? '' }))
console.log(await client.gallery.negative([0, 1, 255]))

await front.stop()
await worker.stop()
await rm(directory, { recursive: true })
