import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  anonymous,
  isQuintetError,
  route,
  validate,
  type ClientLink,
  type Principal,
  type ProcedureCall,
  type RunningTransport,
} from '@quintet/core'
import {
  createAttackHost,
  surfaceAttacks,
  type AttackHost,
  type SurfaceAdapter,
  type SurfaceOutcome,
} from '@quintet/core/testing'
import { describe, it } from 'vitest'
import { directLink, httpLink, socketLink } from '../../src/client.ts'
import { http, websocket } from '../../src/index.ts'
import { createLinks } from '../../src/link.ts'
import { fromProblem } from '../../src/problem.ts'

interface Surface {
  readonly call: SurfaceAdapter['call']
  readonly close: () => Promise<void>
}

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
    close: () => running.close(),
  }
}

async function openBatch(host: AttackHost): Promise<Surface> {
  const running = await http().start(host)
  return {
    async call({ method, input, token }) {
      const answer = await fetch(`${running.url}/rpc`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...bearer(token) },
        body: JSON.stringify([{ id: 1, method, input }]),
      })
      const body: unknown = await answer.json()
      if (!answer.ok) return refusal(body, answer.status)
      const [{ output, error }] = body as [{ output?: unknown; error?: { status: number } }]
      return error === undefined ? { ok: true, output } : refusal(error, error.status)
    },
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
  return {
    async call({ method, input, token }) {
      const answer = await fetch(`${running.url}/call/${encodeURIComponent(method)}`, {
        method: 'POST',
        headers: bearer(token),
        ...(input === undefined ? {} : { body: JSON.stringify(input) }),
      })
      const body: unknown = await answer.json()
      return answer.ok ? { ok: true, output: body } : refusal(body, answer.status)
    },
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
    close: () => running.close(),
  }
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
  return {
    call: asUser(host, (as) => {
      principal = as
      const link = caller.connect('worker', () => principal)
      opened.push(link)
      return link
    }),
    async close() {
      for (const link of opened) await link[Symbol.asyncDispose]()
      await running.close()
      await rm(directory, { recursive: true })
    },
  }
}

function openDirect(host: AttackHost): Promise<Surface> {
  const call = asUser(host, (principal) => directLink(host, { principal }))
  return Promise.resolve({ call, close: () => Promise.resolve() })
}

const surfaces = {
  rpc: openRpc,
  batch: openBatch,
  route: openRoutes,
  message: openSocket,
  link: openLink,
  direct: openDirect,
}

describe.each(Object.entries(surfaces))('%s', (surfaceName, open) => {
  // A call inside the process passes its input on as it is, so there is no body to be too large.
  const attacks = surfaceAttacks.filter(({ name }) => surfaceName !== 'direct' || !name.includes('larger'))

  it.each(attacks)('stands $name', async (attack) => {
    await using host = createAttackHost()
    const { call, close } = await open(host)
    try {
      await attack.run({ host, call })
    } finally {
      await close()
    }
  })
})

async function collect(items: AsyncIterable<unknown>): Promise<unknown[]> {
  const collected: unknown[] = []
  for await (const item of items) collected.push(item)
  return collected
}
