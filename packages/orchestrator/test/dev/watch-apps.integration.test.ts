import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '@quintet/test-kit'
import { describe, expect, it, vi } from 'vitest'
import { binPath } from '../../src/bin-path.ts'
import { watchApps } from '../../src/dev/watch-apps.ts'
import { get, startTrio, trioConfig } from '../trio.ts'

// Whole ecosystems start here, also on a machine that is busy with other things.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 120_000 })

describe('quintet dev', () => {
  it('restarts an app when the content of one of its files changes, and not when one is only touched', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'qt-watch-'))
    await writeFile(join(folder, 'a.ts'), '1')
    await writeFile(join(folder, 'notes.md'), '1')
    await using trio = await startTrio((plan) => ({
      ...plan,
      apps: plan.apps.map((app) =>
        app.name === 'three' ? { ...app, watch: { directory: folder, ignore: ['*.md'] } } : app,
      ),
    }))
    const { ecosystem } = trio
    const messages: string[] = []
    const { promise, resolve } = Promise.withResolvers<void>()
    const watching = watchApps(ecosystem, {
      onMessage: (message) => messages.push(message),
      onReady: resolve,
    })
    await promise
    const { pid } = await get(ecosystem, 'three/http')
    const now = new Date()
    await utimes(join(folder, 'a.ts'), now, now)
    await writeFile(join(folder, 'notes.md'), '2')
    for (const name of ['app.log', 'rows.sqlite', 'rows.sqlite-wal', 'a.pid'])
      await writeFile(join(folder, name), '2')
    await mkdir(join(folder, 'data'))
    await writeFile(join(folder, 'data/rows.json'), '2')
    await writeFile(join(folder, 'a.ts'), '2')
    await until(() => trio.phases('three/http').filter((phase) => phase === 'ready').length === 2)
    await ecosystem.settled()
    expect(messages).toEqual(['three: a.ts changed, restarting'])
    expect((await get(ecosystem, 'three/http')).pid).not.toBe(pid)
    await watching[Symbol.asyncDispose]()
    await rm(folder, { recursive: true, force: true })
  })

  it.each([
    ['hangs', 'setup: () => new Promise(() => setInterval(() => undefined, 1_000)),'],
    ['throws', `setup: async () => { throw new Error('half written') },`],
  ])('does not let a save that mends wait for a start that %s', async (how, broken) => {
    const project = await mkdtemp(join(import.meta.dirname, '../fixtures/tmp-'))
    const file = join(project, 'three.ts')
    const mended = await readFile(join(trioConfig, '../three.ts'), 'utf8')
    await writeFile(file, mended)
    try {
      await using trio = await startTrio((plan) => ({
        ...plan,
        apps: plan.apps.map((app) =>
          app.name === 'three' ? { ...app, watch: { directory: project, ignore: [] } } : app,
        ),
        processes: plan.processes.map((each) => ({
          ...each,
          startupTimeout: 90_000,
          command: each.command.map((part) => (part.endsWith('/three.ts') ? file : part)),
        })),
        supervision: {
          ...plan.supervision,
          backoff: { type: 'fixed', initial: 90_000, max: 90_000, factor: 1 },
        },
      }))
      const messages: string[] = []
      const { promise, resolve } = Promise.withResolvers<void>()
      await using watching = new AsyncDisposableStack()
      watching.use(
        watchApps(trio.ecosystem, {
          onMessage: (message) => messages.push(message),
          onReady: resolve,
        }),
      )
      await promise
      await writeFile(file, mended.replace('processes:', `${broken}\n  processes:`))
      const wanted = how === 'hangs' ? 'starting' : 'backoff'
      await until(() => trio.phases('three/http').length > 3 && trio.phases('three/http').at(-1) === wanted)
      await writeFile(file, `${mended}// mended\n`)
      await until(() => trio.phases('three/http').at(-1) === 'ready', 45_000)
      expect(messages).toEqual(['three: three.ts changed, restarting', 'three: three.ts changed, restarting'])
    } finally {
      await rm(project, { recursive: true, force: true })
    }
  })

  it('says so when the folder that it is to watch is not there', async () => {
    const project = await mkdtemp(join(import.meta.dirname, '../fixtures/tmp-'))
    const config = join(project, 'quintet.config.ts')
    const lost = `export default { project: 'p', apps: [{ name: 'one', bootstrap: '../trio/one.ts', watch: { directory: './scr' } }] }\n`
    await writeFile(config, lost)
    const dev = spawn(process.execPath, [
      binPath,
      ...['dev', '--config', config, '--data', join(project, 'data'), '--ports', 'auto'],
    ])
    const closed = once(dev, 'close')
    let output = ''
    for (const stream of [dev.stdout, dev.stderr])
      stream.on('data', (text: Buffer) => (output += text.toString()))
    try {
      await until(() => output.includes('Waiting for the next save.'), 60_000)
      expect(output).toContain(`apps.one.watch.directory: there is no folder ${join(project, 'scr')}.`)
    } finally {
      dev.kill('SIGINT')
      await closed
      await rm(project, { recursive: true, force: true })
    }
  })

  it('shows the place of what is broken, waits for the next save, and starts then', async () => {
    const project = await mkdtemp(join(import.meta.dirname, '../fixtures/tmp-'))
    const config = join(project, 'quintet.config.ts')
    const sound = `export default { project: 'p', apps: [{ name: 'one', bootstrap: '../trio/one.ts' }] }\n`
    await writeFile(config, sound.replace('apps:', '\napps'))
    const dev = spawn(process.execPath, [
      binPath,
      ...['dev', '--config', config, '--data', join(project, 'data'), '--ports', 'auto'],
    ])
    let output = ''
    for (const stream of [dev.stdout, dev.stderr])
      stream.on('data', (text: Buffer) => (output += text.toString()))
    try {
      await until(() => output.includes('Waiting for the next save.'), 60_000)
      expect(output).toMatch(/quintet\.config\.ts:2\n/)
      await writeFile(config, sound)
      await until(() => output.includes('one/http ready'), 60_000)
    } finally {
      const closed = once(dev, 'close')
      dev.kill('SIGINT')
      await closed
      await rm(project, { recursive: true, force: true })
    }
    expect(dev.exitCode).toBe(0)
  })

  it('runs processes under what their system says in dev', async () => {
    await using trio = await startTrio((plan) => plan, { dev: true })
    expect((await get(trio.ecosystem, 'one/http')).environment).toMatchObject({ QUINTET_DEV: '1' })
  })
})
