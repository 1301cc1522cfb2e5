import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { setTimeout as delay } from 'node:timers/promises'
import {
  createApp,
  defineProcess,
  defineSystem,
  procedure,
  route,
  service,
  silentLogger,
  type App,
} from '@quintet/core'
import { http } from '@quintet/server'
import { findServer, freePort, until } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import { probes } from '../../src/index.ts'

const [haproxy, nginx] = [await findServer('haproxy'), await findServer('nginx')]

/** An instance that serves on until balancers have seen that it stops. */
function startInstance(port: number): Promise<App> {
  const call = procedure({ access: 'public' }, () => port)
  const instance = route({
    method: 'GET',
    pattern: '/instance',
    access: 'public',
    handler: () => new Response(String(port)),
  })
  const main = defineProcess({ services: [service('roll', { call })], routes: [instance] })
  return createApp(
    defineSystem({
      name: 'rolled',
      version: '1.0.0',
      shutdown: { propagationDelay: '500ms' },
      processes: [
        {
          name: 'main',
          module: async () => ({ default: main }),
          transports: { http: http({ port, plugins: [probes()] }) },
        },
      ],
    }),
    { logger: silentLogger },
  )
}

interface Balancer {
  readonly program: string
  config(port: number, instances: readonly number[], folder: string): string
  args(file: string, folder: string): string[]
}

/** As their manuals show it: health checks where the server has them, and connections that are kept. */
const balancers: Readonly<Record<string, Balancer | undefined>> = {
  haproxy:
    haproxy === undefined
      ? undefined
      : {
          program: haproxy,
          config: (port, instances) => `
defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  timeout check 10s
frontend front
  bind 127.0.0.1:${port}
  default_backend app
backend app
  option httpchk GET /readyz
  default-server check inter 100ms fall 1 rise 1
${instances.map((each) => `  server i${each} 127.0.0.1:${each}`).join('\n')}
`,
          args: (file) => ['-db', '-f', file],
        },
  nginx:
    nginx === undefined
      ? undefined
      : {
          program: nginx,
          config: (port, instances, folder) => `
worker_processes 1; daemon off; master_process off; pid ${folder}/nginx.pid; error_log stderr error;
events { worker_connections 1024; }
http {
  access_log off;
  ${['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((what) => `${what}_temp_path ${folder}/${what};`).join(' ')}
  upstream app { ${instances.map((each) => `server 127.0.0.1:${each} fail_timeout=1s;`).join(' ')} keepalive 64; }
  server {
    listen 127.0.0.1:${port};
    location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }
}
`,
          args: (file, folder) => ['-p', folder, '-c', file],
        },
}

async function startBalancer(
  balancer: Balancer,
  instances: readonly number[],
  started: AsyncDisposableStack,
): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'quintet-balancer-'))
  const port = await freePort()
  const file = join(folder, 'balancer.conf')
  await writeFile(file, balancer.config(port, instances, folder))
  const child: ChildProcess = spawn(balancer.program, balancer.args(file, folder), {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let log = ''
  child.stderr?.on('data', (chunk: Buffer) => (log += chunk.toString()))
  const ended = once(child, 'exit')
  started.defer(async () => {
    child.kill('SIGTERM')
    await ended
    await rm(folder, { recursive: true, force: true })
  })
  await until(async () => {
    if (child.exitCode !== null) throw new Error(`The balancer ended: ${log}`)
    return (await fetch(`http://127.0.0.1:${port}/instance`).catch(() => undefined))?.ok
  })
  return port
}

/** How long a client waits before its next request, in milliseconds: they must leave the two instances, which share their thread, time. */
const pace = 25

interface Clients {
  /** Lets them finish. @returns how often requests had which outcome */
  stop(): Promise<Map<string, number>>
}

/** Clients that ask again and again on connections that are kept: reads and calls, which no balancer may send twice, in turns. */
function startClients(port: number, count: number): Clients {
  const outcomes = new Map<string, number>()
  let over = false

  function ask(agent: Agent, call: boolean): Promise<string> {
    const what = call
      ? { method: 'POST', path: '/rpc/roll/call', headers: { 'content-type': 'application/json' } }
      : { method: 'GET', path: '/instance' }
    return new Promise((resolve) => {
      const fail = (error: Error): void => resolve(`${what.method}: ${error.message}`)
      const asked = request({ agent, host: '127.0.0.1', port, ...what }, (response) => {
        text(response).then(
          (body) =>
            resolve(response.statusCode === 200 ? 'done' : `${what.method}: ${response.statusCode} ${body}`),
          fail,
        )
      })
      asked.on('error', fail)
      asked.end(call ? '{}' : '')
    })
  }

  async function run(): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    for (let turn = 0; !over; turn++) {
      const outcome = await ask(agent, turn % 2 === 1)
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
      await delay(pace)
    }
    agent.destroy()
  }

  const all = Promise.all(Array.from({ length: count }, run))
  return {
    async stop() {
      over = true
      await all
      return outcomes
    },
  }
}

/** Restarts each of two instances twice, one after the other. @returns how often requests had which outcome */
async function roll(balancer: Balancer, started: AsyncDisposableStack): Promise<Map<string, number>> {
  const ports = [await freePort(), await freePort()]
  const instances = new Map<number, App>()
  for (const port of ports) instances.set(port, await startInstance(port))
  started.defer(async () => void (await Promise.all([...instances.values()].map((app) => app.stop()))))
  const front = await startBalancer(balancer, ports, started)
  const clients = startClients(front, 32)
  const isReached = async (port: number): Promise<boolean> =>
    (await (await fetch(`http://127.0.0.1:${front}/instance`)).text()) === String(port)
  for (const port of [...ports, ...ports]) {
    await instances.get(port)?.stop('deployment')
    instances.set(port, await startInstance(port))
    // The next one stops when this one serves again.
    await until(() => isReached(port))
  }
  return clients.stop()
}

describe('a rolling restart, twice, under 32 clients', () => {
  for (const [name, balancer] of Object.entries(balancers)) {
    it.skipIf(!balancer)(
      `fails no request behind ${name}`,
      async () => {
        await using started = new AsyncDisposableStack()
        const outcomes = await roll(balancer as Balancer, started)
        expect([...outcomes.keys()]).toEqual(['done'])
        expect(outcomes.get('done')).toBeGreaterThan(100)
      },
      60_000,
    )
  }
})
