import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { until } from '@quintet/test-kit'
import { expect, it, onTestFinished, vi } from 'vitest'
import { binPath } from '../../src/bin-path.ts'

vi.setConfig({ testTimeout: 180_000 })

const config = fileURLToPath(new URL('../fixtures/flood/quintet.config.ts', import.meta.url))

/** What a supervisor in the foreground may have had at any moment, in MB: its start takes about 110, and garbage comes to it. */
const budget = 220

it.runIf(process.platform === 'linux')(
  'up --foreground keeps its memory while an app floods it and nothing reads its output, and says what was dropped',
  async () => {
    const folder = await mkdtemp(join(tmpdir(), 'qf-'))
    const done = join(folder, 'done')
    const args = [binPath, 'up', '-f', '--config', config, '--data', join(folder, 'data')]
    const child = spawn(process.execPath, args, {
      env: { ...process.env, NO_COLOR: '1', NOISY_DONE: done },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = once(child, 'exit')
    onTestFinished(async () => {
      child.kill('SIGKILL')
      await ended
      await rm(folder, { recursive: true, force: true })
    })
    // All of it was taken from the app, although nothing has been read here.
    await until(() => existsSync(done), 150_000)
    const status = await readFile(`/proc/${child.pid}/status`, 'utf8')
    const peak = Number(/^VmHWM:\s+(\d+) kB/m.exec(status)?.[1]) / 1024
    expect(peak).toBeLessThan(budget)

    let output = ''
    child.stdout
      .setEncoding('utf8')
      .on('data', (text: string) => (output = `${output}${text}`.slice(-5_000_000)))
    child.kill('SIGTERM')
    await ended
    expect(output).toMatch(/\d+ lines were dropped: the reader did not keep up/)
  },
)
