import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { add, AddInput, AddOutput } from './contract.ts'
import type { HostLayers } from './host.ts'

/** One server in a process of its own, which loads no other: named by the first argument. It says where it is, and what it has used when asked. */
const [, , name = '', place = ''] = process.argv

async function serveNode(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  await new Promise<void>((resolve) => {
    if (place === '') server.listen(0, '127.0.0.1', resolve)
    else server.listen(place, resolve)
  })
  return place === '' ? `http://127.0.0.1:${String((server.address() as AddressInfo).port)}` : place
}

const raw: RequestListener = (request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const input = AddInput.parse(JSON.parse(Buffer.concat(chunks).toString('utf8')))
    const text = JSON.stringify(AddOutput.parse(add(input)))
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    response.end(text)
  })
}

const rawUpload: RequestListener = (request, response) => {
  let size = 0
  request.on('data', (chunk: Buffer) => (size += chunk.length))
  request.on('end', () => {
    const text = JSON.stringify({ size })
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) })
    response.end(text)
  })
}

async function serveOurs(layers: HostLayers = {}): Promise<string> {
  const { http } = await import('@quintet/server')
  const { createHost } = await import('./host.ts')
  const running = await http({ maxRequestSize: '10gb' }).start(createHost(layers))
  return running.url ?? ''
}

/** The URL, with a token that may call. */
async function serveAuthenticated(freshness: 'strict' | 'tracked', layers: HostLayers = {}): Promise<string> {
  const { createSessionAuth } = await import('./session-auth.ts')
  const { auth, token } = await createSessionAuth(freshness)
  return `${await serveOurs({ access: 'authenticated', auth, ...layers })}#${token}`
}

const peers: Record<string, () => Promise<string>> = {
  raw: () => serveNode(raw),
  'raw-upload': () => serveNode(rawUpload),
  ours: () => serveOurs(),
  'ours-auth': () => serveAuthenticated('tracked'),
  'ours-auth-strict': () => serveAuthenticated('strict'),
  async 'ours-protected'() {
    const { createRlsInvocationWrapper } = await import('@quintet/rls')
    return serveAuthenticated('tracked', { wrappers: [createRlsInvocationWrapper()], logging: true })
  },
  async 'ours-rls'() {
    const { createRlsInvocationWrapper } = await import('@quintet/rls')
    return serveOurs({ wrappers: [createRlsInvocationWrapper()] })
  },
  'ours-log': () => serveOurs({ logging: true }),
  async link() {
    const { createLinks } = await import('@quintet/server/link')
    const { createHost } = await import('./host.ts')
    const links = createLinks({
      directory: place,
      secret: 'the secret of this bench alone',
      system: 'bench',
      process: 'worker',
    })
    const running = await links.expose().start(createHost())
    return running.url ?? ''
  },
  async orpc() {
    const { os } = await import('@orpc/server')
    const { RPCHandler } = await import('@orpc/server/node')
    const handler = new RPCHandler({
      math: {
        add: os
          .input(AddInput)
          .output(AddOutput)
          .handler(({ input }) => add(input)),
      },
    })
    return serveNode((request, response) => {
      void handler.handle(request, response, { prefix: '/rpc', context: {} })
    })
  },
  async trpc() {
    const { initTRPC } = await import('@trpc/server')
    const { createHTTPHandler } = await import('@trpc/server/adapters/standalone')
    const { procedure, router } = initTRPC.create()
    const app = router({
      math: router({
        add: procedure
          .input(AddInput)
          .output(AddOutput)
          .mutation(({ input }) => add(input)),
      }),
    })
    return serveNode(createHTTPHandler({ router: app, basePath: '/rpc/' }))
  },
}

const start = peers[name]
if (start === undefined) throw new Error(`There is no peer "${name}".`)
const url = await start()

process.on('message', () => {
  const { userCPUTime, systemCPUTime, maxRSS } = process.resourceUsage()
  process.send?.({ cpu: userCPUTime + systemCPUTime, maxRss: maxRSS * 1024 })
})
process.on('disconnect', () => process.exit(0))
process.send?.({ url })
