import { execFile } from 'node:child_process'
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises'
import { Agent, get } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { createClient, socketLink } from '@quintet/server/client'
import { until } from '@quintet/test-kit'
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest'
import { binPath } from '../../src/bin-path.ts'
import { sendCommand } from '../../src/control/control-client.ts'
import {
  loadPlan,
  startEcosystem,
  type EcosystemStatus,
  type Plan,
  type ReloadResult,
} from '../../src/index.ts'
import type { RecordedEvent } from '../../src/running/ecosystem-events.ts'
import { startClients } from '../clients.ts'
import type { web } from '../fixtures/reload/web.ts'
import { endAll, markedBy, startKept } from '../kept-trio.ts'
import { isAlive } from '../trio.ts'

const config = fileURLToPath(new URL('../fixtures/reload/quintet.config.ts', import.meta.url))

/** How often it is reloaded under clients; 20 with `QUINTET_RELOADS=20`, under 64 clients and 200 WebSockets. */
const reloads = Number(process.env['QUINTET_RELOADS'] ?? 2)
const clientCount = reloads < 20 ? 16 : 64
const socketCount = reloads < 20 ? 20 : 200

// Whole ecosystems start here, also on a machine that is busy with other things.
vi.setConfig({ testTimeout: reloads < 20 ? 120_000 : 600_000, hookTimeout: 60_000 })

let plan: Plan
beforeAll(async () => {
  plan = await loadPlan(config)
})

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qr-'))
  await release('one')
})
afterEach(async () => {
  await endAll(dataFolder())
  await rm(folder, { recursive: true, force: true })
})

const release = (name: string): Promise<void> => writeFile(join(folder, 'release'), name)

/** The plan of the fixture, in which each generation reads its release from a file. */
function planned(): Plan {
  const env = { WEB_RELEASE: join(folder, 'release') }
  return { ...plan, processes: plan.processes.map((each) => ({ ...each, env: { ...each.env, ...env } })) }
}

const dataFolder = (): string => join(folder, 'data')

function quintet(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const all = [binPath, ...args, '--config', config, '--data', dataFolder()]
    execFile(process.execPath, all, { env: { ...process.env, NO_COLOR: '1' } }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr }),
    )
  })
}

const find = (status: EcosystemStatus, id: string) => {
  const found = status.processes.find((each) => each.id === id)
  return {
    pid: found?.pid ?? 0,
    url: found?.urls['http'] ?? '',
    restarts: found?.restarts,
    phase: found?.phase,
  }
}

const status = async (): Promise<EcosystemStatus> =>
  (await sendCommand(dataFolder(), { command: 'status' })) as EcosystemStatus

const reload = async (name?: string): Promise<ReloadResult> =>
  (await sendCommand(dataFolder(), {
    command: 'reload',
    ...(name === undefined ? {} : { name }),
  })) as ReloadResult

const ask = async (url: string): Promise<{ release: string; pid: number }> =>
  (await (await fetch(url, { headers: { connection: 'close' } })).json()) as { release: string; pid: number }

/** Waits for the release; the generation that gives way still takes a connection until it has heard so. */
const serves = (url: string, name: string): Promise<unknown> =>
  until(async () => (await ask(url)).release === name)

const askFor = (url: string, agent: Agent): Promise<number | undefined> =>
  new Promise((resolve, reject) => {
    get(url, { agent }, (response) => {
      response.resume().once('end', () => resolve(response.statusCode))
    }).once('error', reject)
  })

/** The folder of the holder of a process. */
async function holderOf(name: string): Promise<string> {
  const held = join(dataFolder(), 'held')
  const found = (await readdir(held)).find((each) => each.startsWith(name))
  return join(held, found ?? name)
}

/** Clients that follow a stream each, over a WebSocket of their own, and write down what is missing. */
function startFollowers(url: string, count: number) {
  const stop = new AbortController()
  const failures: string[] = []
  const releases = Array.from({ length: count }, () => '')
  const following = releases.map(async (_, index) => {
    await using link = socketLink({ url: `${url.replace('http', 'ws')}/ws` })
    const client = createClient<typeof web>(link)
    let last = 0
    try {
      for await (const tick of client.web.ticks(undefined, { signal: stop.signal })) {
        if (tick.id !== last + 1) failures.push(`${tick.id} after ${last}`)
        last = tick.id
        releases[index] = tick.release
      }
      if (!stop.signal.aborted) failures.push('a stream has ended')
    } catch (error) {
      if (!stop.signal.aborted) failures.push((error as Error).message)
    }
  })
  return {
    failures,
    /** Resolves when each has heard of a release, or one has failed. */
    reach: (name: string) =>
      until(() => failures.length > 0 || releases.every((each) => each === name), 60_000),
    async stop() {
      stop.abort()
      await Promise.all(following)
    },
  }
}

describe('quintet reload', () => {
  it('drops no request, and WebSockets are told and go on', async () => {
    const supervisor = await startKept(dataFolder(), planned())
    const { url } = find(supervisor.status, 'web/http')
    const clients = startClients(url, clientCount)
    const followers = startFollowers(url, socketCount)
    await followers.reach('one')
    let before = find(supervisor.status, 'web/http')
    const served = [before.pid]
    for (let turn = 1; turn <= reloads; turn++) {
      const { answered } = clients
      await release(`release ${turn}`)
      expect(await reload('web/http')).toEqual({ reloaded: ['web/http'], restarted: [], failed: null })
      const after = find(await status(), 'web/http')
      expect(after).toEqual({ ...before, pid: after.pid })
      expect(after.pid).not.toBe(before.pid)
      served.push(after.pid)
      await serves(url, `release ${turn}`)
      before = after
      await until(() => clients.answered > answered + 100)
      await followers.reach(`release ${turn}`)
    }
    expect(await quintet('reload', 'web/http')).toMatchObject({
      code: 0,
      stdout: 'reloaded: web/http\n',
      stderr: 'web/http reloading\nweb/http reloaded\n',
    })
    // Each that has given way ends by itself, its clients being gone.
    await until(() => !served.some(isAlive), 30_000)
    await clients.stop()
    await followers.stop()
    expect(clients.failures).toEqual([])
    expect(followers.failures).toEqual([])
    expect(await supervisor.stop()).toBe(0)
    expect(await markedBy(dataFolder())).toEqual([])
  })

  it('keeps the old generation when the new one fails its start or its gate, with exit code 2', async () => {
    const supervisor = await startKept(dataFolder(), planned())
    const before = find(supervisor.status, 'web/http')
    const clients = startClients(before.url, 4)
    for (const [broken, reason] of [
      ['throws', 'this release is broken'],
      ['exits', 'exit code 9'],
      ['hangs', 'more than 15000 ms'],
      ['sick', 'this release is sick'],
    ] as const) {
      await release(broken)
      expect(await reload('web/http')).toMatchObject({
        reloaded: [],
        failed: { id: 'web/http', reason: expect.stringContaining(reason) as string },
      })
      expect(find(await status(), 'web/http')).toEqual(before)
      expect(await ask(before.url)).toEqual({ release: 'one', pid: before.pid })
    }
    await clients.stop()
    expect(clients.failures).toEqual([])

    const answer = await quintet('reload', 'web/http')
    expect(answer).toMatchObject({
      code: 2,
      stdout: expect.stringMatching(/^not reloaded: web\/http: .*sick/) as string,
    })
    // The ledger says so, and nothing of the attempts is left.
    expect((await quintet('events')).stdout).toContain('web/http was not reloaded, and goes on as it was')
    const log = await readFile(join(dataFolder(), 'logs', 'web.http.log'), 'utf8')
    expect(log).toContain('reload failed: ')
    expect((await readdir(join(dataFolder(), 'run'))).filter((name) => name.startsWith('s.'))).toEqual([])

    await release('two')
    expect(await reload('web/http')).toMatchObject({ reloaded: ['web/http'] })
    await serves(before.url, 'two')
    await supervisor.stop()
    expect(await markedBy(dataFolder())).toEqual([])
  })

  it('reloads every process and instance of all apps, and stops at the first that fails', async () => {
    const supervisor = await startKept(dataFolder(), planned())
    await release('two')
    expect(await reload()).toEqual({
      reloaded: ['web/http', 'web/twin.0', 'web/twin.1'],
      restarted: [],
      failed: null,
    })
    for (const { urls } of (await status()).processes) await serves(urls['http'] ?? '', 'two')
    await release('throws')
    expect(await reload('web/twin')).toMatchObject({
      reloaded: [],
      failed: { id: 'web/twin.0' },
    })
    await supervisor.stop()
  })

  it('is taken over by the next supervisor, whichever generation serves', async () => {
    const first = await startKept(dataFolder(), planned())
    await release('two')
    expect(await reload('web/http')).toMatchObject({ failed: null })
    const served = find(await status(), 'web/http')
    // Killed while the next generation stands by: it never takes over.
    await release('hangs')
    const begun = Promise.withResolvers<void>()
    const onEvent = (event: RecordedEvent): void => {
      if (event.type === 'reload' && event.state === 'begun') begun.resolve()
    }
    const broken = sendCommand(dataFolder(), { command: 'reload', name: 'web/http' }, { onEvent })
    const [cut] = await Promise.all([
      broken.catch((error: unknown) => error),
      begun.promise.then(() => first.kill()),
    ])
    expect(cut).toMatchObject({ message: expect.stringContaining('went away') as string })
    const second = await startKept(dataFolder(), planned())
    expect(find(second.status, 'web/http')).toMatchObject({ pid: served.pid, phase: 'ready' })
    expect(await ask(served.url)).toEqual({ release: 'two', pid: served.pid })
    await release('three')
    expect(await reload('web/http')).toMatchObject({ failed: null })
    await serves(served.url, 'three')
    await second.stop()
    expect(await markedBy(dataFolder())).toEqual([])
  })

  it('leaves one that has given way to its clients, also when the supervisor is killed meanwhile', async () => {
    const first = await startKept(dataFolder(), planned())
    const old = find(first.status, 'web/http')
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const slow = askFor(`${old.url}/slow`, agent)
    await until(async () =>
      (await readFile(join(dataFolder(), 'logs', 'web.http.log'), 'utf8')).includes('slow'),
    )
    await release('two')
    expect(await reload('web/http')).toMatchObject({ failed: null })
    await first.kill()
    const second = await startKept(dataFolder(), planned())
    await serves(old.url, 'two')
    expect(isAlive(old.pid)).toBe(true)
    await writeFile(join(folder, 'release.go'), '')
    expect(await slow).toBe(200)
    await until(() => !isAlive(old.pid), 30_000)
    agent.destroy()
    // Its holder has let it go, and what it has said at last is in the log.
    await until(async () =>
      (await readdir(await holderOf('web.http'))).every((name) => !/^ack\.1$/.test(name)),
    )
    await until(async () =>
      (await readFile(join(dataFolder(), 'logs', 'web.http.log'), 'utf8')).includes(
        'the generation that gave way has ended: exit code 0',
      ),
    )
    await second.stop()
    expect(await markedBy(dataFolder())).toEqual([])
  })

  it('is not taken for ready by the next supervisor while it drains for a restart', async () => {
    const first = await startKept(dataFolder(), planned())
    const old = find(first.status, 'web/http')
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const slow = askFor(`${old.url}/slow`, agent)
    const log = (): Promise<string> => readFile(join(dataFolder(), 'logs', 'web.http.log'), 'utf8')
    await until(async () => (await log()).includes('slow'))
    const cut = sendCommand(dataFolder(), { command: 'restart', name: 'web/http' }).catch(() => undefined)
    await until(async () => (await log()).includes('SIGTERM'))
    await Promise.all([cut, first.kill()])
    const second = startKept(dataFolder(), planned())
    await until(async () => (await log()).includes('it was stopping when its supervisor ended'))
    await writeFile(join(folder, 'release.go'), '')
    // No second signal has cut it short, and its end counts as what it is.
    expect(await slow).toBe(200)
    agent.destroy()
    const supervisor = await second
    const web = find(supervisor.status, 'web/http')
    expect(web).toMatchObject({ phase: 'ready', restarts: 0 })
    expect(web.pid).not.toBe(old.pid)
    expect((await log()).match(/"SIGTERM"/g)).toHaveLength(1)
    expect(await log()).not.toContain('-> backoff')
    await supervisor.stop()
  })

  it('restarts what nothing holds', async () => {
    await using ecosystem = await startEcosystem(planned(), { dataDirectory: dataFolder() })
    await release('two')
    expect(await ecosystem.reload('web/http')).toEqual({
      reloaded: [],
      restarted: ['web/http'],
      failed: null,
    })
    expect(await ask(ecosystem.urls['web/http']?.['http'] ?? '')).toMatchObject({ release: 'two' })
  })
})
