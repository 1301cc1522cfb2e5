import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { until } from '@quintet/test-kit'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { binPath } from '../../src/bin-path.ts'
import { sendCommand } from '../../src/control/control-client.ts'
import type { EcosystemStatus } from '../../src/index.ts'
import { takeLock } from '../../src/state/lock.ts'
import { stateDirectory, supervisorLog } from '../../src/state/state-directory.ts'
import { endAll, markedBy } from '../kept-trio.ts'
import { isAlive, trioConfig } from '../trio.ts'

// A whole ecosystem starts here, also on a machine that is busy with other things.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 })

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qr-'))
})
afterEach(async () => {
  await endAll(folder)
  await rm(folder, { recursive: true, force: true })
})

const quintet = (...args: string[]): Promise<{ stdout: string }> =>
  promisify(execFile)(process.execPath, [binPath, ...args, '--config', trioConfig, '--data', folder])

const status = async (): Promise<EcosystemStatus> =>
  (await sendCommand(folder, { command: 'status' })) as EcosystemStatus

describe('a supervisor in the background', () => {
  it('comes back when it is killed, with all that it had, until it is told to stop', async () => {
    await quintet('up')
    let before = await status()
    for (let kill = 0; kill < 2; kill++) {
      process.kill(before.pid, 'SIGKILL')
      const after = await until(async () => {
        const found = await status()
        const isBack = found.pid !== before.pid && found.processes.every(({ phase }) => phase === 'ready')
        return isBack ? found : undefined
      }, 60_000)
      expect(after.processes.map(({ pid }) => pid)).toEqual(before.processes.map(({ pid }) => pid))
      before = after
    }
    await quintet('down')
    await until(() => !isAlive(before.pid))
    expect(await markedBy(folder)).toEqual([])
    expect(existsSync(join(folder, 'daemon.json'))).toBe(false)
  })

  it('comes back when a command holds its folder at that moment', async () => {
    await quintet('up')
    const before = await status()
    const revivers = await revivingShells()
    // They stand still until the lock is taken.
    for (const each of revivers) process.kill(each, 'SIGSTOP')
    process.kill(before.pid, 'SIGKILL')
    await until(() => !isAlive(before.pid))
    const { root, run } = stateDirectory(folder)
    const lock = await until(() => takeLock(root, run).catch(() => undefined))
    for (const each of revivers) process.kill(each, 'SIGCONT')
    await until(async () =>
      (await readFile(supervisorLog(stateDirectory(folder)), 'utf8')).includes('waits for'),
    )
    await lock.release()
    const after = await until(() => status().catch(() => undefined), 60_000)
    expect(after.processes.map(({ pid }) => pid)).toEqual(before.processes.map(({ pid }) => pid))
    await quintet('down')
  })

  it('does not come back when what it has left is ended', async () => {
    await quintet('up')
    const { pid, processes } = await status()
    const revivers = await revivingShells()
    expect(revivers).toHaveLength(1)
    // The shell that would start it again stands still, so that nothing happens in between.
    for (const each of revivers) process.kill(each, 'SIGSTOP')
    process.kill(pid, 'SIGKILL')
    await until(() => !isAlive(pid))
    await quintet('down')
    expect([...revivers, ...processes.map((each) => each.pid ?? 0)].filter(isAlive)).toEqual([])
    expect(await markedBy(folder)).toEqual([])
  })

  it('does not come back when it is killed while it stops', async () => {
    await quintet('up')
    const { pid, processes } = await status()
    const one = processes.find(({ id }) => id === 'one/http')?.pid ?? 0
    // It does not stop, so that the supervisor waits for it.
    process.kill(one, 'SIGSTOP')
    const down = quintet('down').catch(() => undefined)
    await until(async () => (await revivingShells()).length === 0, 60_000)
    process.kill(pid, 'SIGKILL')
    await down
    await quintet('down')
    expect(isAlive(one)).toBe(false)
    expect(await markedBy(folder)).toEqual([])
  })
})

async function revivingShells(): Promise<number[]> {
  const { stdout } = await promisify(execFile)('pgrep', ['-f', `quintet-reviver ${folder}/`]).catch(() => ({
    stdout: '',
  }))
  return stdout.split('\n').filter(Boolean).map(Number)
}
