import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  anonymous,
  type ClientLink,
  isQuintetError,
  type Principal,
  type ProcedureCall,
  route,
} from '@quintet/core'
import { type RunningTransport, validate } from '@quintet/core/kit'
import {
  type AttackHost,
  createAttackHost,
  type ForgeableSurface,
  forgedContextAttacks,
  type LeavableSurface,
  leavingAttacks,
  type SurfaceAdapter,
  surfaceAttacks,
  type SurfaceOutcome,
  testUser,
  textAttacks,
  type TextSurface,
} from '@quintet/core/testing'
import { describe, expect, it } from 'vitest'
import { WebSocket as NodeSocket } from 'ws'
import { httpLink, socketLink } from '../../src/client.ts'
import { directLink } from '../../src/direct.ts'
import { http, websocket } from '../../src/index.ts'
import { createLinks } from '../../src/link.ts'
import { fromProblem } from '../../src/problem.ts'

/** What a surface can be attacked with, beside calls; what it lacks does not exist there. */
interface Surface
  extends
    Pick<SurfaceAdapter, 'call'>,
    Partial<
      Pick<TextSurface, 'callWithText'> &
        Pick<ForgeableSurface, 'callForged'> &
        Pick<LeavableSurface, 'callAndLeave'>
    > {
  readonly close: () => Promise<void>
}

/** One HTTP request of an attack. */
interface Shot {
  readonly path: string
  readonly token: string | undefined
  readonly body: string | undefined
  readonly forged?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

async function shoot(url: string | undefined, { path, token, body, forged, signal }: Shot): Promise<unknown> {
  const address = new URL(`${url}${path}`)
  const headers = new Headers({ 'content-type': 'application/json', ...bearer(token) })
  for (const [name, text] of Object.entries(forged ?? {})) {
    headers.set(name, text)
    address.searchParams.set(name, text)
  }
  const answer = await fetch(address, {
    method: 'POST',
    headers,
    ...(body === undefined ? {} : { body }),
    ...(signal === undefined ? {} : { signal }),
  })
  const text = await answer.text()
  const value: unknown = text === '' ? undefined : JSON.parse(text)
  return answer.ok ? { ok: true, output: value } : refusal(value, answer.status)
}

/** The attacks that any HTTP request can make, given how one call becomes a request. */
function overHttp(
  url: string | undefined,
  request: (method: string, input: string | undefined) => Pick<Shot, 'path' | 'body'>,
  outcome: (answer: unknown) => SurfaceOutcome = (answer) => answer as SurfaceOutcome,
): Required<Pick<Surface, 'callWithText' | 'callForged' | 'callAndLeave'>> {
  return {
    callWithText: async ({ method, text, token }) =>
      outcome(await shoot(url, { ...request(method, text), token })),
    callForged: async ({ method, input, token }, forged) =>
      outcome(await shoot(url, { ...request(method, JSON.stringify(input)), token, forged })),
    async callAndLeave({ method, token }, begun) {
      const leaving = new AbortController()
      const call = shoot(url, { ...request(method, undefined), token, signal: leaving.signal })
      await begun
      leaving.abort()
      await call.catch(() => {})
    },
  }
}

const rpcPath = (method: string): string => `/rpc/${method.replace('.', '/')}`
const batchOf = (method: string, input: string | undefined): string =>
  `[{"id":1,"method":${JSON.stringify(method)}${input === undefined ? '' : `,"input":${input}`}}]`

/** What became of a call over a link. */
async function outcomeOf(call: () => Promise<unknown>): Promise<SurfaceOutcome> {
  try {
    const output = await call()
    // A stream inside the process refuses its caller when it is read.
    if (typeof output === 'object' && output !== null && Symbol.asyncIterator in output) {
      return { ok: true, output: await collect(output as AsyncIterable<unknown>) }
    }
    return { ok: true, output }
  } catch (error) {
    if (!isQuintetError(error)) throw error
    return { ok: false, kind: error.kind, code: error.code, message: error.message }
  }
}

function refusal(problem: unknown, status: number): SurfaceOutcome {
  const error = fromProblem(problem, status)
  return { ok: false, kind: error.kind, code: error.code, message: error.message }
}

const bearer = (token: string | undefined): Record<string, string> =>
  token === undefined ? {} : { authorization: `Bearer ${token}` }

async function openRpc(host: AttackHost): Promise<Surface> {
  const running = await http().start(host)
  return {
    call: ({ method, input, token }) =>
      outcomeOf(() => httpLink({ url: running.url ?? '', token: () => token }).call(method, input)),
    ...overHttp(running.url, (method, body) => ({ path: rpcPath(method), body })),
    close: () => running.close(),
  }
}

async function openBatch(host: AttackHost): Promise<Surface> {
  const running = await http().start(host)
  const only = (answer: unknown): SurfaceOutcome => {
    const outcome = answer as SurfaceOutcome
    if (!outcome.ok) return outcome
    const [{ output, error }] = outcome.output as [{ output?: unknown; error?: { status: number } }]
    return error === undefined ? { ok: true, output } : refusal(error, error.status)
  }
  const request = (method: string, input: string | undefined) => ({
    path: '/rpc',
    body: batchOf(method, input),
  })
  return {
    call: async ({ method, input, token }) =>
      only(await shoot(running.url, { ...request(method, JSON.stringify(input)), token })),
    ...overHttp(running.url, request, only),
    close: () => running.close(),
  }
}

/** Every procedure as a route, so that the same attacks can be made on routes. */
async function openRoutes(host: AttackHost): Promise<Surface> {
  const routes = [...host.procedures.values()].map(({ name, procedure }) =>
    route({
      method: 'POST',
      pattern: `/call/${name}`,
      access: procedure.access,
      maxRequestSize: procedure.maxInputSize,
      timeout: procedure.timeout,
      handler: async (request, { principal, signal }) => {
        const text = await request.text()
        const raw: unknown = text === '' ? undefined : JSON.parse(text)
        const input = procedure.input === undefined ? undefined : await validate(procedure.input, raw)
        const call = { input, principal, signal } as ProcedureCall<never, never, never>
        return Response.json(await procedure.handler(call))
      },
    }),
  )
  const running = await http().start({ ...host, routes })
  const request = (method: string, body: string | undefined) => ({
    path: `/call/${encodeURIComponent(method)}`,
    body,
  })
  const { callForged, callAndLeave } = overHttp(running.url, request)
  return {
    call: async ({ method, input, token }) =>
      (await shoot(running.url, { ...request(method, JSON.stringify(input)), token })) as SurfaceOutcome,
    callForged,
    callAndLeave,
    close: () => running.close(),
  }
}

/** Connects as the caller where that is possible, and sends the message over that connection. */
async function openSocket(host: AttackHost): Promise<Surface> {
  const running = await websocket({ access: 'public' }).start(host)
  return {
    async call({ method, input, token }) {
      await using link = socketLink({ url: running.url ?? '', token: () => token })
      const outcome = await outcomeOf(() => link.call(method, input))
      // A browser is not told why a handshake was refused; the answer itself is plain HTTP.
      return outcome.ok || outcome.code !== 'ERR_SERVER_CONNECT_FAILED'
        ? outcome
        : handshakeRefusal(running, token)
    },
    async callWithText({ method, text, token }) {
      const socket = await connect(running, token)
      return await ask(socket, `{"type":"call","id":1,"method":${JSON.stringify(method)},"input":${text}}`)
    },
    async callForged(request, forged) {
      const socket = await connect(running, request.token, forged)
      return await ask(socket, JSON.stringify({ ...forged, type: 'call', id: 1, ...request }))
    },
    async callAndLeave(request, begun) {
      const socket = await connect(running, request.token)
      socket.send(JSON.stringify({ type: 'call', id: 1, ...request, token: undefined }))
      await begun
      socket.terminate()
    },
    close: () => running.close(),
  }
}

async function connect(
  running: RunningTransport,
  token: string | undefined,
  forged: Readonly<Record<string, string>> = {},
): Promise<NodeSocket> {
  const socket = new NodeSocket(
    `${running.url}?${new URLSearchParams(forged).toString()}`,
    'quintet.rpc.v1',
    {
      headers: { ...forged, ...bearer(token) },
    },
  )
  await once(socket, 'open')
  return socket
}

/** Sends one message as it is, and reads the answer. */
async function ask(socket: NodeSocket, message: string): Promise<SurfaceOutcome> {
  socket.send(message)
  const [data] = (await once(socket, 'message')) as [Buffer]
  socket.terminate()
  const answer = JSON.parse(data.toString()) as { output?: unknown; error?: { status: number } }
  return answer.error === undefined
    ? { ok: true, output: answer.output }
    : refusal(answer.error, answer.error.status)
}

async function handshakeRefusal(
  running: RunningTransport,
  token: string | undefined,
): Promise<SurfaceOutcome> {
  const { request } = await import('node:http')
  const { promise, resolve, reject } = Promise.withResolvers<SurfaceOutcome>()
  const handshake = request((running.url ?? '').replace('ws:', 'http:'), {
    headers: {
      connection: 'upgrade',
      upgrade: 'websocket',
      'sec-websocket-version': '13',
      'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
      'sec-websocket-protocol': 'quintet.rpc.v1',
      ...bearer(token),
    },
  })
  handshake.on('response', (response) => {
    let text = ''
    response.on('data', (chunk: Buffer) => (text += chunk.toString()))
    response.on('end', () => resolve(refusal(JSON.parse(text), response.statusCode ?? 0)))
  })
  handshake.on('upgrade', () => reject(new Error('The handshake was accepted.')))
  handshake.on('error', reject)
  handshake.end()
  return promise
}

/** The process in front has authenticated the user before it calls its sibling. */
function asUser(host: AttackHost, connect: (principal: Principal) => ClientLink): SurfaceAdapter['call'] {
  return ({ method, input, token }) =>
    outcomeOf(async () => {
      const { signal } = new AbortController()
      const principal =
        token === undefined
          ? anonymous
          : await host.auth.authenticate({ scheme: 'bearer', token }, { signal })
      return connect(principal).call(method, input)
    })
}

async function openLink(host: AttackHost): Promise<Surface> {
  const directory = await mkdtemp(join(tmpdir(), 'ql-'))
  const options = { directory, secret: 'a secret of thirty-two characters', system: 'test' }
  const running = await createLinks({ ...options, process: 'worker' })
    .expose()
    .start(host)
  const caller = createLinks({ ...options, process: 'http' })
  let principal: Principal = anonymous
  const opened: AsyncDisposable[] = []
  const open = (as: Principal) => {
    principal = as
    const link = caller.connect('worker', () => ({ principal }))
    opened.push(link)
    return link
  }
  return {
    call: asUser(host, open),
    async callAndLeave({ method, input }, begun) {
      const link = open(testUser())
      const call = link.call(method, input)
      await begun
      await Promise.all([link[Symbol.asyncDispose](), call.catch(() => {})])
    },
    async close() {
      for (const link of opened) await link[Symbol.asyncDispose]()
      await running.close()
      await rm(directory, { recursive: true })
    },
  }
}

function openDirect(host: AttackHost): Promise<Surface> {
  const call = asUser(host, (principal) => directLink(host, { principal }))
  return Promise.resolve({
    call,
    async callAndLeave({ method, input }, begun) {
      const leaving = new AbortController()
      const answer = directLink(host, { principal: testUser() }).call(method, input, {
        signal: leaving.signal,
      })
      await begun
      leaving.abort()
      await answer.catch(() => {})
    },
    close: () => Promise.resolve(),
  })
}

const surfaces = {
  rpc: openRpc,
  batch: openBatch,
  route: openRoutes,
  message: openSocket,
  link: openLink,
  direct: openDirect,
}

/** Runs one attack against a surface that was opened for it. */
async function against(
  open: (host: AttackHost) => Promise<Surface>,
  attack: (surface: Surface & SurfaceAdapter) => Promise<void>,
): Promise<void> {
  await using host = createAttackHost()
  const surface = await open(host)
  try {
    await attack({ ...surface, host })
  } finally {
    await surface.close()
  }
}

describe.each(Object.entries(surfaces))('%s', (surfaceName, open) => {
  // A call inside the process passes its input on as it is, so there is no body to be too large.
  const attacks = surfaceAttacks.filter(({ name }) => surfaceName !== 'direct' || !name.includes('larger'))

  it.each(attacks)('stands $name', (attack) => against(open, (surface) => attack.run(surface)))
})

const ofNames = (...names: (keyof typeof surfaces)[]) => names.map((name) => [name, surfaces[name]] as const)

// The author of a route reads its body; a link and a call inside the process carry values, not text.
describe.each(ofNames('rpc', 'batch', 'message'))('%s', (_name, open) => {
  it.each(textAttacks)('stands $name', (attack) =>
    against(open, (surface) => attack.run(surface as typeof surface & TextSurface)),
  )
})

// Nobody but a process that knows the secret has anything to say over a link.
describe.each(ofNames('rpc', 'batch', 'route', 'message'))('%s', (_name, open) => {
  it.each(forgedContextAttacks)('stands $name', (attack) =>
    against(open, (surface) => attack.run(surface as typeof surface & ForgeableSurface)),
  )
})

describe.each(Object.entries(surfaces))('%s', (_name, open) => {
  it.each(leavingAttacks)('stands $name', (attack) =>
    against(open, (surface) => attack.run(surface as typeof surface & LeavableSurface)),
  )
})

describe('batch', () => {
  it('stands more calls than it takes, and runs none of them', async () => {
    await against(openBatch, async ({ host }) => {
      const running = await http({ maxBatchCalls: 4 }).start(host)
      const calls = Array.from({ length: 5 }, (_, id) => ({ id, method: 'target.whoami' }))
      const answer = await shoot(running.url, { path: '/rpc', token: 'alice', body: JSON.stringify(calls) })
      await running.close()
      expect(answer).toMatchObject({ ok: false, kind: 'too-large' })
      expect(host.ran).toEqual([])
    })
  })
})

async function collect(items: AsyncIterable<unknown>): Promise<unknown[]> {
  const collected: unknown[] = []
  for await (const item of items) collected.push(item)
  return collected
}
