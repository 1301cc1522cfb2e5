import { createServer } from 'node:http'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createInterface } from 'node:readline'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { freePort, until } from '@quintet/test-kit'
import { describe, expect, it, vi } from 'vitest'
import {
  startEcosystem,
  type EcosystemEvent,
  type Plan,
  type PlannedProcess,
  type RunningEcosystem,
} from '../../src/index.ts'
import { get, isAlive, startTrio, trioConfig, trioPlan } from '../trio.ts'

// Whole ecosystems start here, also on a machine that is busy with other things.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

function withProcess(plan: Plan, id: string, change: Partial<PlannedProcess>): Plan {
  return {
    ...plan,
    processes: plan.processes.map((each) => (each.id === id ? { ...each, ...change } : each)),
  }
}

/** Its process starts another one that leaves it. */
function withEscape(plan: Plan, leave: string): Plan {
  const leaver = `${leave} sh -c 'echo escaped $$; exec sleep 1000' & exec "$@"`
  const { command } = plan.processes.find((each) => each.id === 'two/http') as PlannedProcess
  return withProcess(plan, 'two/http', { command: ['/bin/sh', '-c', leaver, 'sh', ...command] })
}

async function escapedFrom(ecosystem: RunningEcosystem): Promise<number> {
  const line = await until(() => ecosystem.logs('two/http').findLast((each) => each.includes('escaped')))
  return Number(/escaped (\d+)/.exec(line)?.[1])
}

describe('startEcosystem', () => {
  it('starts each app when what it depends on is ready, leads to it through the gateway, and stops in reverse', async () => {
    const trio = await startTrio()
    const { ecosystem, events } = trio
    const readyAt = (id: string): number =>
      events.findIndex((event) => event.type === 'process' && event.id === id && event.to === 'ready')
    const startAt = (id: string): number =>
      events.findIndex((event) => event.type === 'process' && event.id === id && event.to === 'starting')
    expect(startAt('two/http')).toBeGreaterThan(readyAt('one/http'))
    expect(startAt('three/http')).toBeGreaterThan(readyAt('two/http'))

    const answer = await fetch(`${ecosystem.gatewayUrl}/api/two/`)
    expect(await answer.json()).toMatchObject({ system: 'two' })

    const status = await ecosystem.status()
    expect(status.processes.map(({ id, phase }) => `${id} ${phase}`)).toEqual([
      'one/http ready',
      'two/http ready',
      'three/http ready',
      'gateway/http ready',
    ])
    expect(status.memory.pss).toBeGreaterThan(50e6)
    const pids = status.processes.map((each) => each.pid ?? 0)
    expect(pids.every(isAlive)).toBe(true)

    events.length = 0
    await ecosystem.stop()
    const stops = events.flatMap((event) =>
      event.type === 'process' && event.to === 'stopped' ? [event.id] : [],
    )
    expect(stops).toEqual(['gateway/http', 'three/http', 'two/http', 'one/http'])
    expect(
      events.filter(
        (event) => event.type === 'process' && event.to === 'stopped' && event.reason !== 'exit code 0',
      ),
    ).toEqual([])
    expect(pids.some(isAlive)).toBe(false)
    expect(await ecosystem.stopped).toBe(0)
    await trio[Symbol.asyncDispose]()
  })

  it('restarts a killed process on the same port within a moment', async () => {
    await using trio = await startTrio()
    const { ecosystem } = trio
    const before = await get(ecosystem, 'two/http')
    const url = ecosystem.urls['two/http']
    process.kill(before.pid, 'SIGKILL')
    await until(() => trio.phases('two/http').includes('backoff'))
    await ecosystem.settled()
    const after = await get(ecosystem, 'two/http')
    expect(after.pid).not.toBe(before.pid)
    expect(ecosystem.urls['two/http']).toEqual(url)
    const status = await ecosystem.status()
    expect(status.processes.find((each) => each.id === 'two/http')).toMatchObject({
      restarts: 1,
      lastFailure: 'killed by SIGKILL',
    })
    // The strategy is one_for_one: nobody else was touched.
    expect(status.processes.map((each) => each.restarts)).toEqual([0, 1, 0, 0])
  })

  it.each([
    ['its group', 'setsid'],
    ['its group with an environment of its own', 'env -i setsid'],
  ])('ends what a crashed process has left behind, also what left %s', async (_what, leave) => {
    await using trio = await startTrio((plan) => withEscape(plan, leave))
    const { ecosystem } = trio
    const escaped = await escapedFrom(ecosystem)
    expect(isAlive(escaped)).toBe(true)
    process.kill((await get(ecosystem, 'two/http')).pid, 'SIGKILL')
    await until(() => !isAlive(escaped))
    await ecosystem.settled()
    expect(await get(ecosystem, 'two/http')).toMatchObject({ system: 'two' })
    const again = await escapedFrom(ecosystem)
    await ecosystem.stop()
    expect(isAlive(again)).toBe(false)
  })

  it('stops everything with exit code 1 when a critical app fails, and says why', async () => {
    const failure = startTrio((plan) =>
      withProcess(plan, 'one/http', { command: ['/bin/sh', '-c', 'echo the disk is full >&2; exit 7'] }),
    )
    await expect(failure).rejects.toMatchObject({ code: 'ERR_ORCHESTRATOR_START_FAILED' })
    await expect(failure).rejects.toThrow(/one\/http failed: exit code 7/)
    await expect(failure).rejects.toThrow(/the disk is full/)
  })

  it('shows the last lines of the process that failed, and not of one whose name begins alike', async () => {
    const failure = startTrio((plan) => {
      const broken = withProcess(plan, 'one/http', {
        command: ['/bin/sh', '-c', 'echo the disk is full >&2; exit 7'],
      })
      const [one] = broken.processes as [PlannedProcess]
      const bystander = { ...one, id: 'one/h', ports: {}, addresses: {}, critical: false }
      bystander.command = ['/bin/sh', '-c', 'echo innocent >&2; exec sleep 1000']
      return { ...broken, processes: [bystander, ...broken.processes] }
    })
    await expect(failure).rejects.toThrow(/the disk is full/)
    await expect(failure).rejects.not.toThrow(/innocent/)
  })

  it('leaves dependents waiting when a process that is not critical fails, and the rest running', async () => {
    await using trio = await startTrio((plan) =>
      withProcess(plan, 'two/http', { command: ['/bin/false'], critical: false }),
    )
    const status = await trio.ecosystem.status()
    const phases = Object.fromEntries(status.processes.map((each) => [each.id, each.phase]))
    expect(phases).toEqual({
      'one/http': 'ready',
      'two/http': 'failed',
      'three/http': 'waiting',
      'gateway/http': 'ready',
    })
    expect(status.processes.find((each) => each.id === 'three/http')?.waitingFor).toEqual(['two/http'])
  })

  it('fails a start that takes longer than startupTimeout', async () => {
    const slow = startTrio((plan) => ({
      ...withProcess(plan, 'one/http', {
        command: ['/bin/sleep', '1000'],
        startupTimeout: 200,
        stopTimeout: 500,
      }),
      supervision: { ...plan.supervision, maxRestarts: 0 },
    }))
    await expect(slow).rejects.toThrow(/one\/http failed: it was not ready within 200 ms/)
  })

  it('gives a start longer than its process says, where the ecosystem file does', async () => {
    await using trio = await startTrio((plan) => {
      const { command } = plan.processes.find((each) => each.id === 'one/http') as PlannedProcess
      const slow = join(trioConfig, '../../broken/slow.ts')
      const changed = {
        command: command.map((part) => (part.endsWith('one.ts') ? slow : part)),
        startupTimeout: 60_000,
        ports: {},
      }
      return withProcess(plan, 'one/http', changed)
    })
    expect(trio.phases('one/http')).not.toContain('backoff')
    expect(trio.phases('one/http').at(-1)).toBe('ready')
  })

  it('tells processes why they stop', async () => {
    await using trio = await startTrio()
    const { ecosystem } = trio
    const reasons = (): unknown[] =>
      ecosystem
        .logs('three/http')
        .filter((line) => line.includes('"msg":"stopped"'))
        .map((line) => (JSON.parse(line) as { reason: string }).reason)
    await ecosystem.restart('three')
    expect(reasons()).toEqual(['restart'])
    await ecosystem.restart('three', { cause: 'deployment' })
    expect(reasons()).toEqual(['restart', 'deployment'])
    await ecosystem.stop()
    expect(reasons()).toEqual(['restart', 'deployment', 'shutdown'])
  })

  it('restarts those after it with rest_for_one, dependents first, and all with one_for_all', async () => {
    for (const strategy of ['rest_for_one', 'one_for_all'] as const) {
      await using trio = await startTrio((plan) => ({
        ...plan,
        supervision: { ...plan.supervision, strategy },
      }))
      const { ecosystem, events } = trio
      const pids = await Promise.all(
        ['one/http', 'two/http', 'three/http'].map(async (id) => (await get(ecosystem, id)).pid),
      )
      events.length = 0
      process.kill(pids[1] as number, 'SIGKILL')
      await until(() => trio.phases('three/http').includes('ready'))
      await ecosystem.settled()
      const after = await Promise.all(
        ['one/http', 'two/http', 'three/http'].map(async (id) => (await get(ecosystem, id)).pid),
      )
      expect(after.map((pid, index) => pid === pids[index])).toEqual([
        strategy === 'rest_for_one',
        false,
        false,
      ])
    }
  })

  it('calls a process unhealthy while its checks fail, and does not restart it for that', async () => {
    await using trio = await startTrio()
    const { pid } = await get(trio.ecosystem, 'three/http', '/sick')
    await until(() => trio.phases('three/http').at(-1) === 'unhealthy')
    const status = await trio.ecosystem.status()
    expect(
      status.processes.find((each) => each.id === 'three/http')?.health?.checks['well-being']?.detail,
    ).toContain('sick on demand')
    await get(trio.ecosystem, 'three/http', '/well')
    await until(() => trio.phases('three/http').at(-1) === 'ready')
    expect((await get(trio.ecosystem, 'three/http')).pid).toBe(pid)
  })

  it('restarts a process that does not answer any more', async () => {
    await using trio = await startTrio((plan) => withProcess(plan, 'three/http', { stopTimeout: 300 }))
    const { pid } = await get(trio.ecosystem, 'three/http')
    void get(trio.ecosystem, 'three/http', '/hang').catch(() => undefined)
    await until(() => trio.phases('three/http').includes('backoff'))
    await trio.ecosystem.settled()
    expect((await get(trio.ecosystem, 'three/http')).pid).not.toBe(pid)
    expect((await trio.ecosystem.status()).processes[2]?.lastFailure).toBe(
      'it did not answer 2 probes in a row',
    )
  })

  it('refuses to start when a port is taken, names its owner, and starts nothing', async () => {
    const other = createServer().listen(0, '127.0.0.1')
    await once(other, 'listening')
    const { port } = other.address() as AddressInfo
    const events: unknown[] = []
    const failure = startTrio((plan) => withProcess(plan, 'two/http', { ports: { http: port } }), {
      onEvent: (event) => events.push(event),
    })
    await expect(failure).rejects.toMatchObject({ code: 'ERR_ORCHESTRATOR_PORT_IN_USE' })
    await expect(failure).rejects.toThrow(
      `two/http needs port ${port}, which is in use by pid ${process.pid} (`,
    )
    expect(events).toEqual([])
    other.close()
  })

  const broken = (plan: Plan, name: string): Plan => {
    const bootstrap = join(trioConfig, `../../broken/${name}.ts`)
    const { command } = plan.processes.find((each) => each.id === 'one/http') as PlannedProcess
    return withProcess(plan, 'one/http', {
      command: command.map((part) => (part.endsWith('one.ts') ? bootstrap : part)),
      ports: {},
    })
  }

  it.each([
    ['throws', 'the disk is full', 4],
    ['misconfigured', 'apiKey', 1],
    ['missing', 'there is no file', 1],
  ])(
    'says why a process that is %s did not start, and tries again only where that can help',
    async (name, reason, tries) => {
      const events: EcosystemEvent[] = []
      const failure = startTrio(
        (plan) => ({
          ...broken(plan, name),
          supervision: { ...plan.supervision, maxRestarts: 3, window: 120_000 },
        }),
        { onEvent: (event) => events.push(event) },
      )
      await expect(failure).rejects.toThrow(reason)
      const ends = events.filter(
        (event) =>
          event.type === 'process' &&
          event.id === 'one/http' &&
          (event.to === 'backoff' || event.to === 'failed'),
      )
      expect(ends).toHaveLength(tries)
      for (const end of ends) expect(end).toMatchObject({ reason: expect.stringContaining(reason) as string })
    },
  )

  it('explains an event loop that ran empty, which Node ends without a word', async () => {
    await using trio = await startTrio((plan) => {
      const { command } = plan.processes.find((each) => each.id === 'three/http') as PlannedProcess
      const idle = join(trioConfig, '../../broken/idle.ts')
      return withProcess(plan, 'three/http', {
        command: command.map((part) => (part.endsWith('three.ts') ? idle : part)),
        ports: {},
        health: false,
      })
    })
    await until(() => trio.phases('three/http').includes('backoff'))
    const { lastFailure } = (await trio.ecosystem.status()).processes[2] ?? {}
    expect(lastFailure).toMatch(/^The event loop ran empty: .* \(exit code 1\)$/)
  })

  it('starts again after an unclean end, whatever that has left in the data folder', async () => {
    await using trio = await startTrio()
    const { dataDirectory } = trio.ecosystem
    await trio.ecosystem.stop()
    const leftovers = ['run/processes.1.sock', 'run/control.1.sock', 'run/links/one.http.0.1.sock']
    for (const name of leftovers) {
      const path = join(dataDirectory, name)
      await mkdir(dirname(path), { recursive: true })
      // As a killed process leaves its socket: bound, and closed by the kernel.
      const bind = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`
      await once(spawn(process.execPath, ['-e', bind]), 'exit')
      expect(existsSync(path)).toBe(true)
    }
    await using again = await startEcosystem(await trioPlan(), { dataDirectory })
    expect(await get(again, 'one/http')).toMatchObject({ system: 'one' })
    expect(leftovers.filter((name) => existsSync(join(dataDirectory, name)))).toEqual([])
  })

  it('refuses a second supervisor on the same data', async () => {
    await using trio = await startTrio()
    const second = startEcosystem(await trioPlan(), { dataDirectory: trio.ecosystem.dataDirectory })
    await expect(second).rejects.toMatchObject({ code: 'ERR_ORCHESTRATOR_ALREADY_RUNNING' })
  })

  it('keeps administrator URLs and its own variables from the apps, and gives secrets only to those that name them', async () => {
    await using trio = await startTrio(
      (plan) => ({
        ...plan,
        apps: plan.apps.map((app) =>
          app.name === 'one' ? { ...app, requires: { ...app.requires, secrets: ['cnf'] } } : app,
        ),
      }),
      {
        env: {
          PATH: process.env['PATH'],
          HOME: process.env['HOME'],
          DATABASE_URL: 'postgres://admin@nowhere',
          ONE_GREETING: 'hello',
          TWO_SIGNING_KEY: 'of two alone',
          AWS_SECRET_ACCESS_KEY: 'of nobody here',
        },
      },
    )
    const one = (await get(trio.ecosystem, 'one/http')).environment
    const two = (await get(trio.ecosystem, 'two/http')).environment
    expect(one).toMatchObject({ ONE_GREETING: 'hello', QUINTET_LOG_LEVEL: 'info' })
    expect([one['TWO_SIGNING_KEY'], one['AWS_SECRET_ACCESS_KEY']]).toEqual([undefined, undefined])
    expect(one['ONE_SECRETS__CNF']).toMatch(/^[\w-]{43}$/)
    expect(Object.keys(two).filter((name) => name.includes('SECRETS__'))).toEqual([])
    expect(one['DATABASE_URL']).toBeUndefined()
  })

  it('gives each process the environment, the log level and the gateway that the ecosystem file says', async () => {
    const port = await freePort()
    await using trio = await startTrio((plan) => ({
      ...withProcess(withProcess(plan, 'two/http', { env: { A: '2' } }), 'gateway/http', {
        env: { QUINTET_LOG_LEVEL: 'info' },
        ports: { http: port },
      }),
      gateway: plan.gateway && { ...plan.gateway, config: { securityHeaders: { 'x-from': 'file' } } },
      logging: { ...plan.logging, level: 'error' },
    }))
    const { ecosystem } = trio
    expect((await get(ecosystem, 'two/http')).environment).toMatchObject({
      A: '2',
      QUINTET_LOG_LEVEL: 'error',
    })
    expect((await get(ecosystem, 'one/http')).environment).toMatchObject({
      QUINTET_PUBLIC_ORIGIN: `http://127.0.0.1:${port}`,
      QUINTET_PUBLIC_URL: `http://127.0.0.1:${port}/api/one`,
    })
    // A process says at level info that it has started.
    await until(() => ecosystem.logs('gateway/http').some((line) => line.includes('"started"')))
    expect(ecosystem.logs('two/http').some((line) => line.includes('"started"'))).toBe(false)
    expect(new URL(ecosystem.gatewayUrl ?? '').port).toBe(String(port))
    const answer = await fetch(`${ecosystem.gatewayUrl}/api/two/`)
    expect(answer.headers.get('x-from')).toBe('file')
  })

  it('tells an app where another one is, whatever port that has', async () => {
    await using trio = await startTrio((plan) =>
      withProcess(plan, 'two/http', { env: { PEER: '${url:one/http}/x' } }),
    )
    const { environment } = await get(trio.ecosystem, 'two/http')
    expect(environment['PEER']).toBe(`${trio.ecosystem.urls['one/http']?.['http']}/x`)
  })

  it('shows its operator the secrets that apps require, and no others', async () => {
    await using trio = await startTrio()
    expect(trio.ecosystem.secret('maintenance-token')).toMatch(/^[\w-]{43}$/)
    const token = trio.ecosystem.secret('operator-token')
    expect(token).toMatch(/^[\w-]{43}$/)
    for (const id of ['one/http', 'two/http'])
      expect((await get(trio.ecosystem, id)).environment['QUINTET_OPERATOR_TOKEN']).toBe(token)
    expect(() => trio.ecosystem.secret('redis')).toThrow(
      'There is no secret "redis". There are: maintenance-token, operator-token.',
    )
  })

  it('stops a start that is no longer wanted, and leaves nothing', async () => {
    const wanted = new AbortController()
    const failure = startTrio((plan) => withProcess(plan, 'two/http', { command: ['/bin/sleep', '1000'] }), {
      signal: wanted.signal,
      onEvent(event) {
        if (event.type === 'process' && event.id === 'two/http' && event.to === 'starting')
          wanted.abort(new Error('changed my mind'))
      },
    })
    await expect(failure).rejects.toThrow('changed my mind')
    expect(await children()).toEqual([])
  })

  it('leaves nothing running when it is killed itself', async () => {
    await using folder = await temporaryFolder()
    await using elsewhere = await runTrioElsewhere(folder.path)
    const { parent, pids } = elsewhere
    expect(pids.every(isAlive)).toBe(true)
    parent.kill('SIGKILL')
    await until(() => !pids.some(isAlive))
  })

  it('replaces a guardian that is killed, and tells the new one what it watches', async () => {
    await using folder = await temporaryFolder()
    await using elsewhere = await runTrioElsewhere(folder.path)
    const { parent, pids } = elsewhere
    const [first = 0] = await until(async () => nonEmpty(await guardiansOf(parent.pid)))
    process.kill(first, 'SIGKILL')
    await until(async () => (await guardiansOf(parent.pid)).some((pid) => pid !== first && isAlive(pid)))
    parent.kill('SIGKILL')
    await until(() => !pids.some(isAlive))
  })

  it('ends what an earlier run has left when it was killed together with its guardian', async () => {
    await using folder = await temporaryFolder()
    await using elsewhere = await runTrioElsewhere(folder.path)
    const { parent, pids } = elsewhere
    const guardians = await until(async () => nonEmpty(await guardiansOf(parent.pid)))
    for (const pid of guardians) process.kill(pid, 'SIGSTOP')
    parent.kill('SIGKILL')
    await once(parent, 'exit')
    for (const pid of guardians) process.kill(pid, 'SIGKILL')
    expect(pids.every(isAlive)).toBe(true)
    await using again = await startEcosystem(await trioPlan(), { dataDirectory: folder.path })
    expect(pids.filter(isAlive)).toEqual([])
    expect(await get(again, 'one/http')).toMatchObject({ system: 'one' })
  })
})

async function temporaryFolder(): Promise<AsyncDisposable & { readonly path: string }> {
  const path = await mkdtemp(join(tmpdir(), 'qt-'))
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) }
}

/** Runs the trio in a process of its own, with the pids of the apps. */
async function runTrioElsewhere(
  folder: string,
): Promise<AsyncDisposable & { readonly parent: ChildProcess; readonly pids: readonly number[] }> {
  const module = new URL('../../src/index.ts', import.meta.url).href
  const code = `
    const { startEcosystem } = await import(${JSON.stringify(module)})
    const ecosystem = await startEcosystem(${JSON.stringify(trioConfig)}, { dataDirectory: ${JSON.stringify(folder)} })
    const { processes } = await ecosystem.status()
    console.log(JSON.stringify(processes.map((each) => each.pid)))`
  const parent = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(createInterface(parent.stdout), 'line')) as [string]
  const pids = JSON.parse(line) as number[]
  return {
    parent,
    pids,
    async [Symbol.asyncDispose]() {
      parent.kill('SIGKILL')
      for (const pid of pids.filter(isAlive)) process.kill(pid, 'SIGKILL')
    },
  }
}

/** The guardians that a process has. */
async function guardiansOf(parent: number | undefined): Promise<number[]> {
  const children = await readFile(`/proc/${parent}/task/${parent}/children`, 'utf8')
  const found: number[] = []
  for (const pid of children.trim().split(' ').map(Number)) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    if (command.includes('quintet-guardian')) found.push(pid)
  }
  return found
}

function nonEmpty<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length > 0 ? list : undefined
}

/** What this process has started and that still runs, guardians that are about to end left out. */
async function children(): Promise<string[]> {
  const pids = (await readFile(`/proc/self/task/${process.pid}/children`, 'utf8'))
    .trim()
    .split(' ')
    .filter(Boolean)
    .map(Number)
  const commands = await Promise.all(
    pids.filter(isAlive).map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')),
  )
  return commands
    .map((command) => command.replaceAll('\0', ' '))
    .filter((command) => /bin\.|sleep 1000/.test(command))
}
