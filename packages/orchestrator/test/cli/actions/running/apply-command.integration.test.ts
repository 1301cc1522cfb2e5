import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { until } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { binPath } from '../../../../src/bin-path.ts'
import { sendCommand } from '../../../../src/control/control-client.ts'
import type { EcosystemStatus } from '../../../../src/index.ts'
import { startClients } from '../../../clients.ts'
import { endAll, markedBy } from '../../../kept-trio.ts'

// A whole ecosystem runs here, also on a machine that is busy with other things.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

const config = fileURLToPath(new URL('../../../fixtures/apply/quintet.config.ts', import.meta.url))

let folder: string
const data = (): string => join(folder, 'data')
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qa-'))
  await writeFile(join(folder, 'release'), 'first')
  const { code, stderr } = await quintet(file(), 'up')
  if (code !== 0) throw new Error(stderr)
})
afterAll(async () => {
  await quintet(file(), 'down')
  // The shell beside the supervisor ends a moment after it.
  await until(async () => (await markedBy(data())).length === 0)
  await endAll(data())
  await rm(folder, { recursive: true, force: true })
})

interface FileOptions {
  readonly apps?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly gatewayPort?: number
}

/** The ecosystem file of this moment. */
function file({ apps = ['one', 'three'], env = {}, gatewayPort = 0 }: FileOptions = {}): string {
  return JSON.stringify({
    apps: [
      {
        name: 'web',
        bootstrap: '../reload/web.ts',
        env: { WEB_RELEASE: join(folder, 'release'), ...env },
      },
      ...apps.map((name) => ({ name, bootstrap: `../trio/${name}.ts` })),
    ],
    infrastructure: { services: { gateway: { preset: 'quintet', ports: { http: gatewayPort } } } },
  })
}

function quintet(
  content: string,
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = { ...process.env, NO_COLOR: '1', APPLY_FILE: content }
  return new Promise((resolve) => {
    const all = [binPath, ...args, '--config', config, '--data', data()]
    execFile(process.execPath, all, { env }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr }),
    )
  })
}

const statusOf = async (): Promise<EcosystemStatus> =>
  (await sendCommand(data(), { command: 'status' })) as EcosystemStatus

const find = (status: EcosystemStatus, id: string) => status.processes.find((each) => each.id === id)

const pidsOf = ({ processes }: EcosystemStatus): Record<string, number | null> =>
  Object.fromEntries(processes.map(({ id, pid }) => [id, pid]))

describe('quintet apply', () => {
  const changed = (): string => file({ apps: ['two', 'three'], env: { WEB_COLOR: 'red' } })

  it('shows what would change, and changes nothing, with --dry-run', async () => {
    const before = await statusOf()
    const { code, stdout } = await quintet(changed(), 'apply', '--dry-run', '--json')
    expect(code).toBe(0)
    expect(JSON.parse(stdout)).toEqual({
      started: ['two/http'],
      stopped: ['one/http'],
      reloaded: [
        { id: 'web/http', because: ['WEB_COLOR'] },
        { id: 'web/twin.0', because: ['WEB_COLOR'] },
        { id: 'web/twin.1', because: ['WEB_COLOR'] },
        { id: 'gateway/http', because: ['GATEWAY_ROUTES'] },
      ],
      supervised: [],
      settings: [],
    })
    const after = await statusOf()
    expect(after.pid).toBe(before.pid)
    expect(pidsOf(after)).toEqual(pidsOf(before))
  })

  it('starts, reloads and stops what has changed, under clients, and nothing else', async () => {
    const before = await statusOf()
    const direct = startClients(find(before, 'web/http')?.urls['http'] ?? '', 8)
    const three = startClients(`${find(before, 'gateway/http')?.urls['http']}/api/three/`, 8)
    await until(() => direct.answered > 20 && three.answered > 20)
    const { code, stdout, stderr } = await quintet(changed(), 'apply')
    expect({ code, stderr: code === 0 ? '' : stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/reload +web\/http +WEB_COLOR/)
    const [answered, through] = [direct.answered, three.answered]
    await until(() => direct.answered > answered + 20 && three.answered > through + 20)
    await Promise.all([direct.stop(), three.stop()])
    expect([...direct.failures, ...three.failures]).toEqual([])
    const after = await statusOf()
    expect(after.processes.map(({ id, phase }) => [id, phase])).toEqual(
      ['web/http', 'web/twin.0', 'web/twin.1', 'two/http', 'three/http', 'gateway/http'].map((id) => [
        id,
        'ready',
      ]),
    )
    expect(after.pid).not.toBe(before.pid)
    expect(find(after, 'three/http')?.pid).toBe(find(before, 'three/http')?.pid)
    expect(find(after, 'web/http')?.pid).not.toBe(find(before, 'web/http')?.pid)
    expect(after.processes.every(({ restarts }) => restarts === 0)).toBe(true)
  })

  it('does nothing where nothing has changed', async () => {
    const { pid } = await statusOf()
    expect(await quintet(changed(), 'apply')).toMatchObject({ code: 0, stdout: 'nothing has changed\n' })
    expect((await statusOf()).pid).toBe(pid)
  })

  it('leaves everything as it was when the file cannot be launched, with exit code 2', async () => {
    const before = await statusOf()
    const taken = createServer().listen(0)
    await once(taken, 'listening')
    onTestFinished(() => void taken.close())
    const { port: gatewayPort } = taken.address() as { port: number }
    const content = file({ apps: ['two', 'three'], env: { WEB_COLOR: 'red' }, gatewayPort })
    const { code, stderr } = await quintet(content, 'apply')
    expect(code).toBe(2)
    expect(stderr).toContain('The ecosystem file was not applied, and everything goes on as it was')
    expect(stderr).toContain(`gateway/http needs port ${gatewayPort}`)
    expect(pidsOf(await statusOf())).toEqual(pidsOf(before))
    // And it can be tried again.
    expect(await quintet(changed(), 'apply')).toMatchObject({ code: 0, stdout: 'nothing has changed\n' })
  })

  it('leaves a process as it was when the new generation does not pass its gate, with exit code 2', async () => {
    const before = await statusOf()
    await writeFile(join(folder, 'release'), 'throws')
    const { code, stderr } = await quintet(
      file({ apps: ['two', 'three'], env: { WEB_COLOR: 'blue' } }),
      'apply',
    )
    expect(code).toBe(2)
    expect(stderr).toMatch(/web\/http was not reloaded, and goes on as it was: .*this release is broken/)
    expect(find(await statusOf(), 'web/http')).toMatchObject({
      phase: 'ready',
      pid: find(before, 'web/http')?.pid,
    })
  })

  it('refuses what needs a stop', async () => {
    const content = JSON.parse(file({ apps: ['two', 'three'] })) as { infrastructure: object }
    const other = { ...content, infrastructure: { ...content.infrastructure, redis: { port: 6_380 } } }
    const { code, stderr } = await quintet(JSON.stringify(other), 'apply')
    expect(code).toBe(1)
    expect(stderr).toContain('infrastructure.redis is another one, and apps would lose theirs')
  })
})
