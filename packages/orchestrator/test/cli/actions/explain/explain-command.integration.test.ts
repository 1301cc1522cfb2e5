import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { until } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { binPath } from '../../../../src/bin-path.ts'
import type { EcosystemStatus } from '../../../../src/index.ts'
import { isAlive, trioConfig } from '../../../trio.ts'

// Whole ecosystems start here, also on a machine that is busy with other things.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 })

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qt-'))
})
afterAll(async () => {
  await quintet('down', '--force')
  await rm(folder, { recursive: true, force: true })
})

interface Answer {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

const common = (): string[] => ['--config', trioConfig, '--data', folder]

function quintet(...args: string[]): Promise<Answer> {
  return new Promise((resolve) => {
    const env = { ...process.env, NO_COLOR: '1' }
    execFile(process.execPath, [binPath, ...args, ...common()], { env }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr }),
    )
  })
}

async function status(): Promise<EcosystemStatus> {
  return JSON.parse((await quintet('status', '--json')).stdout) as EcosystemStatus
}

const pidsOf = ({ processes }: EcosystemStatus): number[] => processes.flatMap(({ pid }) => pid ?? [])

describe('quintet plan', () => {
  it('shows the order of start and stop with the reasons', async () => {
    const { code, stdout } = await quintet('plan')
    expect(code).toBe(0)
    expect(stdout.split('\n').map((line) => line.replaceAll(/ {2,}/g, ' | '))).toEqual([
      'START | PROCESS | WHY',
      '1 | one/http | waits for nothing',
      '1 | gateway/http | waits for nothing',
      '2 | two/http | when one/http is ready',
      '3 | three/http | when two/http is ready',
      '',
      'STOP | PROCESS | WHY',
      '1 | gateway/http | nothing needs it',
      '2 | three/http | after gateway/http, which leads to it',
      '3 | two/http | after three/http, which needs it; after gateway/http, which leads to it',
      '4 | one/http | after two/http, which needs it; after gateway/http, which leads to it',
      '',
    ])
  })
})

describe('quintet explain', () => {
  it.each([
    ['ERR_ORCHESTRATOR_PORT_IN_USE', '(@quintet/orchestrator, conflict)\na port is taken'],
    ['ERR_INFRASTRUCTURE_PORT_IN_USE', '(@quintet/orchestrator, unavailable)\n'],
    ['ERR_CORE_CONFIG_INVALID', '(@quintet/core, internal)\nthe configuration is wrong'],
    ['ERR_GATEWAY_BODY_TOO_LARGE', '(@quintet/gateway, too-large)\nthe body is larger'],
  ])('says what %s means', async (code, text) => {
    expect((await quintet('explain', code)).stdout).toContain(`${code} ${text}`)
  })

  it.each([
    ['ERR_CORE_NOTHING', 'ERR_CORE_NOTHING: @quintet/core has no such error. It has: ERR_CORE_'],
    ['ERR_OTHERS_THING', 'ERR_OTHERS_THING: @quintet/others is not installed here.'],
    ['four/http', 'There is no process "four/http", and it is no error code.'],
  ])('refuses %s', async (what, message) => {
    expect(await quintet('explain', what)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(message) as string,
    })
  })

  it('says what a process hangs on and what its crashes lead to, also when nothing runs', async () => {
    const { code, stdout } = await quintet('explain', 'two/http')
    expect(code).toBe(0)
    expect(stdout).toContain('- The ecosystem does not run.\n')
    expect(stdout).toContain('- It starts when one/http is ready.\n- What waits for it: three/http.\n')
    expect(stdout).toContain('- If it crashes in each start it is started again after 0.05 s, 0.1 s, 0.2 s,')
    expect(stdout).toMatch(/crash 6, after \d+s, is one too many: then it fails alone\.\n/)
    expect((await quintet('explain', 'one/http')).stdout).toContain(
      'then everything stops, for it and its app are critical.',
    )
    expect((await quintet('explain', 'gateway/http')).stdout).toContain(', and for ever.')
  })
})

describe('quintet gateway nginx', () => {
  it('needs ports that are known', async () => {
    expect(await quintet('gateway', 'nginx')).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringContaining('one/http has no port of its own for "http"') as string,
    })
  })
})

describe('an ecosystem that runs', () => {
  it('is waited for, explained, told of and ended by force', async () => {
    expect(await quintet('wait', 'two', '--timeout', '10ms')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(
        '"two" was not ready within 10 ms: the ecosystem does not run.',
      ) as string,
    })
    const waiting = quintet('wait', 'three', '--timeout', '2m')
    expect(await quintet('up')).toMatchObject({ code: 0 })
    expect(await waiting).toMatchObject({ code: 0, stdout: 'three/http ready\n' })
    expect(await quintet('wait', 'migrations')).toMatchObject({ code: 0 })
    expect(await quintet('wait', 'four')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('There is no app or process "four".') as string,
    })

    const { urls } = (await status()).processes.find(({ id }) => id === 'two/http') ?? {}
    const { stdout: printed } = await quintet('gateway', 'nginx')
    expect(printed).toContain('proxy_pass http://gateway_two')
    expect(printed).toContain(`server ${new URL(urls?.['http'] ?? '').host}`)
    const written = join(folder, 'nginx')
    expect(await quintet('gateway', 'nginx', written)).toMatchObject({
      code: 0,
      stdout: `${join(written, 'nginx.conf')}\nnginx -p ${written} -c nginx.conf\n`,
    })
    expect(await readFile(join(written, 'nginx.conf'), 'utf8')).toBe(printed)

    const following = spawn(process.execPath, [binPath, 'events', '-f', '--json', ...common()])
    const followed = once(following, 'close')
    const lines: string[] = []
    createInterface(following.stdout).on('line', (line) => lines.push(line))
    const heard = (id: string, to: string): number =>
      lines.filter((line) => line.includes(`"id":"${id}"`) && line.includes(`"to":"${to}"`)).length
    await until(() => heard('three/http', 'ready') === 1, 60_000)

    const { pid } = (await status()).processes.find(({ id }) => id === 'two/http') ?? {}
    process.kill(pid ?? 0, 'SIGKILL')
    await until(() => heard('two/http', 'ready') === 2, 60_000)
    expect(heard('two/http', 'backoff')).toBe(1)
    expect(lines.every((line) => (JSON.parse(line) as { at: number }).at > 0)).toBe(true)

    const explained = (await quintet('explain', 'two/http')).stdout
    expect(explained).toMatch(
      /^two\/http is ready\n- For \d+s\.\n- Why it ended the last time: killed by SIGKILL\n/,
    )
    expect(explained).toContain('- It was started again after a crash, 1 times.\n')
    expect(explained).toMatch(/Its latest changes:\n(?:.*\n)*\S+Z {2}ready -> backoff: killed by SIGKILL\n/)
    expect((await quintet('events')).stdout).toMatch(
      /\S+Z {2}two\/http backoff: killed by SIGKILL, again in 0 ms\n/,
    )

    const pids = pidsOf(await status())
    expect(await quintet('down', '--force')).toMatchObject({ code: 0, stdout: 'ended by force\n' })
    expect(pids.filter(isAlive)).toEqual([])
    await followed
    expect(await quintet('down', '--force')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('The ecosystem is not running.') as string,
    })
  })

  it('is ended by force under a supervisor that stands still', async () => {
    expect(await quintet('up')).toMatchObject({ code: 0 })
    const before = await status()
    process.kill(before.pid, 'SIGSTOP')
    expect(await quintet('down', '--force')).toMatchObject({ code: 0, stdout: 'ended by force\n' })
    await until(() => ![before.pid, ...pidsOf(before)].some(isAlive), 30_000)
  })
})
