import { execFile, spawn } from 'node:child_process'
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { until } from '@quintet/test-kit'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { binPath } from '../../src/bin-path.ts'
import { sendCommand } from '../../src/control/control-client.ts'
import { loadPlan, startEcosystem, type EcosystemStatus } from '../../src/index.ts'
import { identify, statFields } from '../../src/processes/process-identity.ts'
import { startClients } from '../clients.ts'
import { endAll, markedBy, startKept } from '../kept-trio.ts'
import { isAlive, trioPlan } from '../trio.ts'

// Whole ecosystems start here, also on a machine that is busy with other things.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

/** How often the supervisor is killed under clients; 20 with `QUINTET_KILLS=20`. */
const kills = Number(process.env['QUINTET_KILLS'] ?? 2)

const storeConfig = fileURLToPath(new URL('../fixtures/store/quintet.config.ts', import.meta.url))
const heldConfig = fileURLToPath(new URL('../fixtures/held/quintet.config.ts', import.meta.url))

/** How often each process is restarted under clients; 20 with `QUINTET_RESTARTS=20`. */
const restarts = Number(process.env['QUINTET_RESTARTS'] ?? 2)

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qk-'))
})
afterEach(async () => {
  await endAll(folder)
  await rm(folder, { recursive: true, force: true })
})

const pids = ({ processes }: EcosystemStatus): Record<string, number | null> =>
  Object.fromEntries(processes.map(({ id, pid }) => [id, pid]))

const urlOf = ({ processes }: EcosystemStatus, id: string): string =>
  processes.find((each) => each.id === id)?.urls['http'] ?? ''

describe('a supervisor that is killed', () => {
  it('leaves its apps, and the next one takes them over', async () => {
    const first = await startKept(folder)
    await first.kill()
    const url = urlOf(first.status, 'one/http')
    expect(await (await fetch(url)).json()).toMatchObject({ system: 'one' })

    const second = await startKept(folder)
    expect(pids(second.status)).toEqual(pids(first.status))
    expect(second.status.processes.map(({ phase }) => phase)).toEqual(['ready', 'ready', 'ready', 'ready'])
    expect(urlOf(second.status, 'one/http')).toBe(url)

    const all = await markedBy(folder)
    expect(await second.stop()).toBe(0)
    await until(() => !all.some(isAlive))
    expect(await markedBy(folder)).toEqual([])
  })

  it('again and again, under clients, costs them no request', async () => {
    let supervisor = await startKept(folder)
    const before = pids(supervisor.status)
    const clients = startClients(`${urlOf(supervisor.status, 'gateway/http')}/api/one/`, 16)
    for (let kill = 0; kill < kills; kill++) {
      const { answered } = clients
      await supervisor.kill()
      await until(() => clients.answered > answered + 100)
      supervisor = await startKept(folder)
      expect(pids(supervisor.status)).toEqual(before)
    }
    await clients.stop()
    expect(clients.failures).toEqual([])
    await supervisor.stop()
    expect(await markedBy(folder)).toEqual([])
  })

  it('hears from the next one what its apps have said and how they have ended meanwhile', async () => {
    const first = await startKept(folder)
    await first.kill()
    const url = urlOf(first.status, 'two/http')
    for (let line = 0; line < 100; line++) await fetch(`${url}/say/line-${line}`)
    await expect(fetch(`${url}/crash`)).rejects.toThrow()
    await until(() => !isAlive(pids(first.status)['two/http'] ?? 0))

    const second = await startKept(folder)
    const log = await until(async () => {
      const text = await readFile(join(folder, 'logs', 'two.http.log'), 'utf8')
      return text.includes('"line-99"') && text
    })
    for (let line = 0; line < 100; line++) expect(log).toContain(`"line-${line}"`)
    const two = second.status.processes.find(({ id }) => id === 'two/http')
    expect(two).toMatchObject({ phase: 'ready', restarts: 1, lastFailure: 'exit code 3' })
    expect(two?.pid).not.toBe(pids(first.status)['two/http'])
    // Its address is the same: those that call it need not be told.
    expect(urlOf(second.status, 'two/http')).toBe(url)
    expect(pids(second.status)['three/http']).toBe(pids(first.status)['three/http'])

    await second.kill()
    const third = await startKept(folder)
    expect(third.status.processes.find(({ id }) => id === 'two/http')).toMatchObject({ restarts: 1 })
    await third.stop()
  })

  it('is followed by one that ends everything, where that keeps nothing', async () => {
    const first = await startKept(folder)
    await first.kill()
    const all = await markedBy(folder)
    await using second = await startEcosystem(await trioPlan(), { dataDirectory: folder })
    expect(all.filter(isAlive)).toEqual([])
    expect(await (await fetch(second.urls['one/http']?.['http'] ?? '')).json()).toMatchObject({
      system: 'one',
    })
  })

  it('is followed by one that ends everything and starts it, when it cannot be told what is held', async () => {
    const first = await startKept(folder)
    await first.kill()
    const all = await markedBy(folder)
    await appendFile(join(folder, 'state.jsonl'), 'not json\n')
    const second = await startKept(folder)
    expect(all.filter(isAlive)).toEqual([])
    expect(second.status.processes.every(({ phase }) => phase === 'ready')).toBe(true)
    await second.stop()
  })

  it('is followed by one that starts no second copy of what it cannot prove', async () => {
    const first = await startKept(folder)
    await first.kill()
    const stranger = spawn('sleep', ['1000'], { stdio: 'ignore' })
    onTestFinished(() => void stranger.kill('SIGKILL'))
    const identity = identify(stranger.pid as number)
    const file = join(folder, 'state.jsonl')
    const lines = (await readFile(file, 'utf8')).split('\n').filter(Boolean)
    const forged = lines.map((line) => {
      const entry = JSON.parse(line) as { type: string; id: string }
      return entry.type === 'generation' && entry.id === 'three/http' ? { ...entry, identity } : entry
    })
    await writeFile(file, forged.map((entry) => `${JSON.stringify(entry)}\n`).join(''))
    const second = await startKept(folder)
    const three = second.status.processes.find(({ id }) => id === 'three/http')
    expect(three).toMatchObject({ phase: 'failed', pid: null })
    expect(three?.lastFailure).toContain(`pid ${stranger.pid} may be an earlier copy of it`)
    expect(pids(second.status)['one/http']).toBe(pids(first.status)['one/http'])
    // Nor does the next one, whether this one is killed or stops.
    await second.kill()
    const third = await startKept(folder)
    expect(third.status.processes.find(({ id }) => id === 'three/http')?.phase).toBe('failed')
    await third.stop()
    expect(isAlive(stranger.pid as number)).toBe(true)
    const fourth = await startKept(folder)
    expect(fourth.status.processes.find(({ id }) => id === 'three/http')?.phase).toBe('failed')
    stranger.kill('SIGKILL')
    await until(() => !isAlive(stranger.pid as number))
    await sendCommand(folder, { command: 'restart', name: 'three' })
    expect((await statusOf(folder)).processes.find(({ id }) => id === 'three/http')?.phase).toBe('ready')
    await fourth.stop()
  })
})

describe('servers', () => {
  it('go on with the apps that use them, and are taken over with them', async () => {
    const plan = await loadPlan(storeConfig)
    const first = await startKept(folder, plan)
    const before = first.status.servers
    expect(before.map(({ name }) => name)).toEqual(['postgres', 'redis'])
    await first.kill()
    expect(before.every(({ pid }) => isAlive(pid ?? 0))).toBe(true)

    const second = await startKept(folder, plan)
    expect(second.status.servers.map(({ name, pid, port }) => ({ name, pid, port }))).toEqual(
      before.map(({ name, pid, port }) => ({ name, pid, port })),
    )
    expect(services(second.status)).toEqual(services(first.status))
    await second.kill()

    // One that ends meanwhile is started again, where the apps look for it.
    const [postgres, redis] = before
    process.kill(postgres?.pid ?? 0, 'SIGKILL')
    await until(() => !isAlive(postgres?.pid ?? 0))
    const third = await startKept(folder, plan)
    expect(third.status.servers.map(({ port }) => port)).toEqual(before.map(({ port }) => port))
    expect(third.status.servers[0]?.pid).not.toBe(postgres?.pid)
    expect(third.status.servers[1]?.pid).toBe(redis?.pid)
    expect(services(third.status)).toEqual(services(first.status))

    // And one that was taken over is watched as one that was started is.
    process.kill(redis?.pid ?? 0, 'SIGKILL')
    await until(async () => (await statusOf(folder)).servers[1]?.restarts === 1)
    const all = (await statusOf(folder)).servers.map(({ pid }) => pid ?? 0)
    await third.stop()
    expect(all.filter(isAlive)).toEqual([])
    expect(await markedBy(folder)).toEqual([])
  })

  it('and apps without a supervisor are shown by "status" and ended by "down"', async () => {
    const first = await startKept(folder, await loadPlan(storeConfig))
    await first.kill()
    const servers = first.status.servers.map(({ pid }) => pid ?? 0)
    await expect(sendCommand(folder, { command: 'status' })).rejects.toThrow(
      'The supervisor is gone, and 5 of its processes and servers go on without it.',
    )
    const { stdout } = await promisify(execFile)(process.execPath, [binPath, 'down', '--data', folder])
    expect(stdout).toBe('stopped\n')
    expect(await markedBy(folder)).toEqual([])
    expect(servers.filter(isAlive)).toEqual([])
    await expect(sendCommand(folder, { command: 'status' })).rejects.toThrow('The ecosystem is not running.')
  })
})

describe('a process in a holder', () => {
  it('that crashes comes back on its socket: clients wait instead of being refused', async () => {
    const supervisor = await startKept(folder)
    const url = urlOf(supervisor.status, 'one/http')
    await expect(fetch(`${url}/crash`)).rejects.toThrow()
    const answer = (await (await fetch(url)).json()) as { pid: number }
    expect(answer.pid).not.toBe(pids(supervisor.status)['one/http'])
    await supervisor.stop()
  })

  it('that is restarted costs its clients no request', async () => {
    const supervisor = await startKept(folder, await loadPlan(heldConfig))
    const direct = startClients(`${urlOf(supervisor.status, 'activated/http')}/environment`, 16)
    const gateway = urlOf(supervisor.status, 'gateway/http')
    const through = startClients(`${gateway}/api/activated/environment`, 16)
    for (let restart = 0; restart < restarts; restart++) {
      for (const name of ['activated', 'gateway']) {
        await sendCommand(folder, { command: 'restart', name })
        const answered = [direct.answered, through.answered]
        await until(
          () => direct.answered > (answered[0] ?? 0) + 50 && through.answered > (answered[1] ?? 0) + 50,
        )
      }
    }
    await Promise.all([direct.stop(), through.stop()])
    expect([...direct.failures, ...through.failures]).toEqual([])
    await supervisor.stop()
  })

  it('that was started with something else than it would be now is restarted, and keeps its address', async () => {
    const first = await startKept(folder)
    await first.kill()
    const plan = await trioPlan()
    const processes = plan.processes.map((each) =>
      each.id === 'two/http' ? { ...each, env: { ...each.env, TWO_NEW: 'yes' } } : each,
    )
    const second = await startKept(folder, { ...plan, processes })
    const url = urlOf(first.status, 'two/http')
    await until(async () => {
      const { environment } = (await (await fetch(url)).json()) as { environment: Record<string, string> }
      return environment['TWO_NEW'] === 'yes'
    })
    const unchanged = ({ one, gateway }: Record<string, number | null>): unknown => [one, gateway]
    expect(unchanged(pids(second.status))).toEqual(unchanged(pids(first.status)))
    await second.stop()
  })

  it('is ended with its supervisor by "down --force", also when that stands still', async () => {
    const supervisor = await startKept(folder)
    supervisor.process.kill('SIGSTOP')
    const { stdout } = await promisify(execFile)(process.execPath, [
      ...[binPath, 'down', '--force', '--data', folder],
    ])
    expect(stdout).toBe('ended by force\n')
    expect(await markedBy(folder)).toEqual([])
    expect(isAlive(supervisor.process.pid ?? 0)).toBe(false)
  })

  it('goes on when its holder is killed, which its state says', async () => {
    const first = await startKept(folder)
    for (const pid of await holdersOf(folder)) process.kill(pid, 'SIGKILL')
    await first.kill()
    const second = await startKept(folder)
    expect(pids(second.status)).toEqual(pids(first.status))
    expect(second.status.processes.map(({ holder }) => holder)).toEqual(['lost', 'lost', 'lost', 'lost'])
    // Its exit code is known all the same, and it comes back in a new holder, at the same address.
    const url = urlOf(second.status, 'one/http')
    await expect(fetch(`${url}/crash`)).rejects.toThrow()
    await until(async () => (await fetch(url).catch(() => undefined))?.ok)
    await second.kill()
    const third = await startKept(folder)
    expect(third.status.processes.find(({ id }) => id === 'one/http')).toMatchObject({
      phase: 'ready',
      holder: 'held',
    })
    await third.stop()
    expect(await markedBy(folder)).toEqual([])
  })
})

const services = (status: EcosystemStatus): unknown =>
  status.processes.filter(({ kind }) => kind === 'service').map(({ id, pid }) => ({ id, pid }))

const statusOf = async (data: string): Promise<EcosystemStatus> =>
  (await sendCommand(data, { command: 'status' })) as EcosystemStatus

/** The shells that hold processes; they end when they are told to, and by nothing else of ours. */
async function holdersOf(data: string): Promise<number[]> {
  const found: number[] = []
  for (const pid of await markedBy(data)) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    const parent = statFields(await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''))
    // A generation is watched by a shell with the same command line, which leads no session.
    if (command.includes('quintet-holder') && parent[3] === String(pid)) found.push(pid)
  }
  return found
}
