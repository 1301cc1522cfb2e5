import { execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { spawnActivated, until } from '@quintet/test-kit'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { binPath } from '../../src/bin-path.ts'
import type { EcosystemStatus } from '../../src/index.ts'
import { isAlive, trioConfig } from '../trio.ts'

// Whole ecosystems start here, also on a machine that is busy with other things.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

let folder: string
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qt-'))
})
afterAll(async () => {
  await quintet('down')
  await rm(folder, { recursive: true, force: true })
})

interface Answer {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function quintet(...args: string[]): Promise<Answer> {
  return new Promise((resolve) => {
    const all = [binPath, ...args, '--config', trioConfig, '--data', folder]
    execFile(process.execPath, all, { env: { ...process.env, NO_COLOR: '1' } }, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr })
    })
  })
}

async function status(): Promise<EcosystemStatus> {
  return JSON.parse((await quintet('status', '--json')).stdout) as EcosystemStatus
}

describe('quintet', () => {
  it('says that nothing runs, with exit code 1', async () => {
    for (const command of ['status', 'down', 'restart one']) {
      const answer = await quintet(...command.split(' '))
      expect(answer).toMatchObject({ code: 1, stdout: '' })
      expect(answer.stderr).toMatch(/The ecosystem is not running\. "quintet up" starts it\./)
    }
  })

  it('refuses what it does not know, with what was probably meant', async () => {
    expect(await quintet('statsu')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Did you mean status?') as string,
    })
    expect((await quintet('--version')).stdout).toMatch(/^\d+\.\d+\.\d+\n$/)
    expect(await quintet('start', 'one')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('"quintet up" does that') as string,
    })
    expect(await quintet('up', '--port', '99999')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('Give a number from 0 to 65535.') as string,
    })
    expect(await quintet('up', '--foregruond')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining("unknown option '--foregruond'") as string,
    })
  })

  it('starts everything in the background, shows it, restarts, follows logs and stops', async () => {
    const up = await quintet('up')
    expect(up).toMatchObject({ code: 0, stderr: '' })
    expect(up.stdout).toMatch(/three\/http +ready/)

    const shown = await quintet('status')
    expect(shown.stdout).toMatch(/PROCESS +STATE +PID +UPTIME +RESTARTS +CPU +MEMORY +URL/)
    expect(shown.stdout).toMatch(
      /gateway\/http +ready +\d+ +\d+s +0 +[\d.]+% +[\d.]+ MB +http:\/\/127\.0\.0\.1:\d+/,
    )
    const before = await status()
    expect(isAlive(before.pid)).toBe(true)

    expect(await quintet('up')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`running already (pid ${before.pid})`) as string,
    })

    const following = spawn(process.execPath, [
      binPath,
      'logs',
      'two',
      '-f',
      '--json',
      '--config',
      trioConfig,
      '--data',
      folder,
    ])
    const followed = once(following, 'close')
    const lines: string[] = []
    createInterface(following.stdout).on('line', (line) => lines.push(line))
    await until(() => lines.some((line) => line.includes('probing -> ready')))
    lines.length = 0

    const restarted = await quintet('restart', 'two', '--deployment')
    expect(restarted).toMatchObject({ code: 0, stdout: 'restarted: two/http\n' })
    // What becomes of it is shown while it is waited for.
    expect(restarted.stderr).toMatch(/two\/http stopping\n.*two\/http starting\n.*two\/http ready\n/s)
    await until(
      () =>
        lines.some((line) => line.includes('"started"')) &&
        lines.some((line) => line.includes('probing -> ready')),
    )
    expect(lines.some((line) => line.includes('"reason":"deployment"'))).toBe(true)
    const after = await status()
    const pids = ({ processes }: EcosystemStatus): (number | null)[] => processes.map((each) => each.pid)
    expect(pids(after).map((pid, index) => pid === pids(before)[index])).toEqual([true, false, true, true])

    expect((await quintet('logs', 'two', '-n', '2')).stdout.split('\n')).toHaveLength(3)
    expect((await quintet('secret', 'operator-token')).stdout).toMatch(/^[\w-]{43}\n$/)
    expect((await quintet('metrics', 'everything', '-n', '1')).stdout).toMatch(
      /TIME +CPU +MEMORY +RSS\n\S+Z +[\d.]+% +\d+ MB +\d+ MB\n/,
    )
    expect((await quintet('metrics', 'everything', '-n', '0')).stdout).toBe('TIME  CPU  MEMORY  RSS\n')
    expect(await quintet('metrics', 'nonsense')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('There are no measurements of "nonsense".') as string,
    })
    expect(await quintet('restart', 'four')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('There is no app or process "four"') as string,
    })

    const down = await quintet('down')
    expect(down).toMatchObject({ code: 0, stdout: 'stopped\n' })
    expect(pids(after).some((pid) => pid !== null && isAlive(pid))).toBe(false)
    await until(() => !isAlive(before.pid))
    await followed
    expect((await quintet('logs', 'two', '-n', '1')).stdout).toContain('stopped')
  })

  it('runs in the foreground, and stops in order on Ctrl-C', async () => {
    const child = spawn(process.execPath, [
      binPath,
      'up',
      '--foreground',
      '--json',
      '--config',
      trioConfig,
      '--data',
      folder,
    ])
    const lines: string[] = []
    createInterface(child.stdout).on('line', (line) => lines.push(line))
    await until(
      () =>
        ['one', 'two', 'three', 'gateway'].every((app) =>
          lines.some((line) => line.includes(`"id":"${app}/http"`) && line.includes('"to":"ready"')),
        ),
      60_000,
    )
    const { processes } = await status()
    child.kill('SIGINT')
    const [code] = (await once(child, 'close')) as [number]
    expect(code).toBe(0)
    expect(processes.some(({ pid }) => pid !== null && isAlive(pid))).toBe(false)
    const stops = lines
      .map((line) => JSON.parse(line) as { type: string; id: string; to: string })
      .filter((event) => event.type === 'process' && event.to === 'stopped')
    expect(stops.map((event) => event.id)).toEqual(['gateway/http', 'three/http', 'two/http', 'one/http'])
  })

  it('runs one system without a supervisor, and stops on SIGTERM with exit code 0', async () => {
    const bootstrap = join(trioConfig, '../one.ts')
    const child = spawn(process.execPath, [binPath, 'run', bootstrap, '--port', 'http=0'], {
      env: { ...process.env, QUINTET_PORTS: '' },
    })
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
    const { transports } = JSON.parse(line) as { transports: { http: string } }
    expect(await (await fetch(transports.http)).json()).toMatchObject({ system: 'one' })
    child.kill('SIGTERM')
    expect(await once(child, 'close')).toEqual([0, null])
  })

  it('listens on the sockets that systemd hands over, by the name of the transport', async () => {
    const bootstrap = join(import.meta.dirname, '../fixtures/activated.ts')
    const command = [process.execPath, binPath, 'run', bootstrap]
    await using activated = await spawnActivated(command, ['http'])
    const { child, ports } = activated
    const response = await fetch(`http://127.0.0.1:${ports['http']}/environment`)
    expect(await response.json()).toEqual([])
    child.kill('SIGTERM')
    expect(await once(child, 'close')).toEqual([0, null])
  })

  it('refuses a socket that no transport takes', async () => {
    const command = [process.execPath, binPath, 'run', join(import.meta.dirname, '../fixtures/activated.ts')]
    await using activated = await spawnActivated(command, ['web'])
    const { child } = activated
    let stderr = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    expect(await once(child, 'close')).toEqual([1, null])
    expect(stderr).toContain(
      'run: an inherited socket is called "web", and there is no such transport. Set FileDescriptorName= to one of: http.',
    )
  })

  it('runs all processes of a system in one, when none is named', async () => {
    const child = spawn(process.execPath, [
      binPath,
      'run',
      join(import.meta.dirname, '../fixtures/pair/pair.ts'),
    ])
    const lines: string[] = []
    createInterface(child.stdout).on('line', (line) => lines.push(line))
    await until(() => lines.filter((line) => line.includes('"started"')).length === 2)
    const urls = lines.flatMap((line) =>
      Object.values((JSON.parse(line) as { transports?: Record<string, string> }).transports ?? {}),
    )
    const answers = (await Promise.all(urls.map(async (url) => (await fetch(url)).json()))) as {
      pid: number
    }[]
    expect(answers.map(({ pid }) => pid)).toEqual([child.pid, child.pid])
    child.kill('SIGINT')
    expect(await once(child, 'close')).toEqual([0, null])
  })

  it('refuses the port of a gateway where there is none, and starts nothing', async () => {
    const project = await mkdtemp(join(import.meta.dirname, '../fixtures/tmp-'))
    const config = join(project, 'quintet.config.ts')
    await writeFile(
      config,
      `export default { project: 'p', apps: [{ name: 'one', bootstrap: '../trio/one.ts' }] }\n`,
    )
    const data = join(project, 'data')
    const child = spawn(process.execPath, [
      binPath,
      'up',
      '--port',
      '8080',
      '--config',
      config,
      '--data',
      data,
    ])
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    expect(await once(child, 'close')).toEqual([1, null])
    expect(stderr).toContain('There is no gateway that could have port 8080')
    await rm(project, { recursive: true, force: true })
  })

  it.each([
    [['--port', 'htpp=3999'], 'port htpp=3999: there is no transport "htpp". Transports: http.'],
    [['--instance', '1e2'], '--instance: "1e2" is not a whole number, counted from 0.'],
  ])('refuses %j for one system', async (args, message) => {
    const child = spawn(process.execPath, [binPath, 'run', join(trioConfig, '../one.ts'), ...args])
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    expect(await once(child, 'close')).toEqual([1, null])
    expect(stderr).toContain(message)
  })

  it('names the processes of a system when it has no such one', async () => {
    const child = spawn(process.execPath, [
      binPath,
      'run',
      join(import.meta.dirname, '../fixtures/pair/pair.ts'),
      '--process',
      'third',
    ])
    let stderr = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    expect(await once(child, 'close')).toEqual([1, null])
    expect(stderr).toContain('run: the system "pair" has no process "third". Processes: first, second.')
  })

  it('ends with exit code 1 when something is thrown that nobody catches', async () => {
    const child = spawn(process.execPath, [binPath, 'run', join(trioConfig, '../one.ts')])
    const lines: string[] = []
    createInterface(child.stdout).on('line', (line) => lines.push(line))
    await until(() => lines.length > 0)
    const { transports } = JSON.parse(lines[0] ?? '') as { transports: { http: string } }
    await fetch(`${transports.http}/throw`)
    expect(await once(child, 'close')).toEqual([1, null])
    expect(
      lines.some((each) => each.includes('uncaught exception') && each.includes('thrown on demand')),
    ).toBe(true)
  })

  const store = join(trioConfig, '../../store/quintet.config.ts')
  const ofStore = (command: string, env: Record<string, string> = {}, ...more: string[]): Promise<Answer> =>
    new Promise((resolve) => {
      const args = [binPath, command, 'store', '--config', store, ...more]
      execFile(
        process.execPath,
        args,
        { env: { ...process.env, NO_COLOR: '1', ...env } },
        (error, stdout, stderr) => resolve({ code: error ? Number(error.code ?? 1) : 0, stdout, stderr }),
      )
    })

  it('lists every way in with its access rule', async () => {
    const { stdout } = await ofStore('routes', {}, '--json')
    expect((JSON.parse(stdout) as Record<string, string>[]).map((way) => Object.values(way))).toEqual([
      ['store', 'http', 'route', 'GET /menu/:day', 'role guest or cook', 'What there is.'],
      ['store', 'http', 'job', 'job:order', 'system', ''],
      ['store', 'prices', 'rpc', 'prices.of', 'public', ''],
    ])
    expect((await ofStore('routes')).stdout).toMatch(
      /store +http +route +GET \/menu\/:day +role guest or cook +What there is\.\n/,
    )
  })

  it('shows each value of the configuration with its origin, by process where they differ, and no secret', async () => {
    const env = { STORE_MENU__DISHES_PER_PAGE: '30', STORE_MENU__API_KEY: 'hunter2' }
    const { code, stdout, stderr } = await ofStore('config', env, '--json')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const entry = (path: string, value: unknown, origin: string, only: string | null = null) => ({
      app: 'store',
      process: only,
      path,
      value,
      origin,
    })
    expect(JSON.parse(stdout)).toEqual([
      entry('database.systemUrl', '[secret]', 'provided by quintet'),
      entry('database.url', '[secret]', 'provided by quintet'),
      entry('menu.apiKey', '[redacted]', 'env STORE_*'),
      entry('menu.currency', 'EUR', 'overrides'),
      entry('menu.dishesPerPage', 30, 'env STORE_*'),
      entry('menu.languages', ['de', 'fr'], 'env STORE_*', 'prices'),
      entry('menu.languages', ['en'], 'default', 'http'),
      entry('menu.title', 'Today', 'store.json'),
      entry('redis.url', '[secret]', 'provided by quintet'),
      entry('secrets.cnf', '[secret]', 'provided by quintet'),
      entry('secrets.mailKey', '[secret]', 'provided by quintet'),
    ])
    expect((await ofStore('config', env)).stdout).toMatch(
      /store\/prices +menu\.languages +\["de","fr"\] +env STORE_\*\n/,
    )
  })

  it('says everything that is wrong with a configuration at once', async () => {
    const answer = await ofStore('config', {
      STORE_MENU__DISHES_PER_PAGE: 'many',
      STORE_MENU__TITEL: 'hunter2',
      STORE_DATABSE__URL: 'hunter2',
    })
    expect(answer).toMatchObject({ code: 1, stdout: '' })
    expect(answer.stderr).toContain(
      '- menu.dishesPerPage: Invalid input: expected number, received string (given: "many") [env STORE_*]',
    )
    expect(answer.stderr).toContain('- menu: unknown key "titel". Did you mean "title"? [env STORE_*]')
    expect(answer.stderr).toContain('- unknown key "databse". Did you mean "database"? [env STORE_*]')
    expect(answer.stderr).not.toContain('hunter2')
  })
})
