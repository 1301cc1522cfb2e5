import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { readLock, takeLock } from '../../src/state/lock.ts'

let root: string
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'q-'))
})
afterEach(() => rm(root, { recursive: true, force: true }))

const contender = fileURLToPath(new URL('../fixtures/lock-contender.ts', import.meta.url))
const lockModule = new URL('../../src/state/lock.ts', import.meta.url).href

/** A process that holds the lock until it is killed. */
async function holdElsewhere(): Promise<{ pid: number; kill: () => Promise<void> }> {
  const code = `
    const { takeLock } = await import(${JSON.stringify(lockModule)})
    await takeLock(${JSON.stringify(root)}, '/run/of/the/other')
    console.log('held')
    setInterval(() => undefined, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  await once(createInterface(child.stdout), 'line')
  return {
    pid: child.pid ?? 0,
    async kill() {
      child.kill('SIGKILL')
      await once(child, 'exit')
    },
  }
}

describe('takeLock', () => {
  it('refuses a second holder, naming the first, and lets the next one in after the release', async () => {
    const first = await takeLock(root, '/run/here')
    expect(await readLock(root)).toEqual({ pid: process.pid, run: '/run/here' })
    await expect(takeLock(root, '/run/here')).rejects.toThrow(`running already (pid ${process.pid})`)
    await Promise.all([first.release(), first.release()])
    expect(await readLock(root)).toBeUndefined()
    await using _second = await takeLock(root, '/run/here')
  })

  it('is free the moment its holder is killed, and leaves nothing of it behind', async () => {
    const other = await holdElsewhere()
    expect(await readLock(root)).toEqual({ pid: other.pid, run: '/run/of/the/other' })
    await other.kill()
    expect(await readLock(root)).toBeUndefined()
    await using _lock = await takeLock(root, '/run/here')
    const flags = (await readdir(join(root, 'lock'))).filter((name) => name.endsWith('.sock'))
    expect(flags).toHaveLength(1)
  })

  it('goes by the socket, not by the pid: after a restart of a container the pid is that of its new supervisor', async () => {
    const dead = await holdElsewhere()
    await dead.kill()
    const file = join(root, 'lock/holder.json')
    await writeFile(file, JSON.stringify({ pid: process.pid, run: '/old', flag: (await flags())[0] }))
    expect(await readLock(root)).toBeUndefined()
    await using _lock = await takeLock(root, '/run/here')
  })

  it('is held also where the path is too long for a unix socket', async () => {
    const deep = join(root, 'x'.repeat(90), 'y'.repeat(90))
    await mkdir(deep, { recursive: true })
    await using _lock = await takeLock(deep, '/run/here')
    await expect(takeLock(deep, '/run/here')).rejects.toMatchObject({
      code: 'ERR_ORCHESTRATOR_ALREADY_RUNNING',
    })
  })

  it('gives up when another contender does not go away', async () => {
    await mkdir(join(root, 'lock'), { recursive: true })
    // It listens, but never wrote itself down as the holder: its process is stopped in the middle.
    const frozen = createServer()
    await new Promise<void>((done) => frozen.listen(join(root, 'lock/000000000000.sock'), done))
    await expect(takeLock(root, '/run/here')).rejects.toMatchObject({
      code: 'ERR_ORCHESTRATOR_ALREADY_RUNNING',
    })
    frozen.close()
  })

  it('never has two holders in a thousand turns of processes that all want it at once', async () => {
    const turns = 250
    const contenders = Array.from({ length: 4 }, () =>
      spawn(process.execPath, [contender, root, String(turns)], { stdio: ['ignore', 'pipe', 'inherit'] }),
    )
    const answers = await Promise.all(
      contenders.map(async (child) => {
        const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
        await once(child, 'close')
        return line
      }),
    )
    expect(answers).toEqual(Array.from({ length: 4 }, () => `held ${turns}`))
  }, 120_000)
})

describe('readLock', () => {
  it.runIf(process.getuid?.() === 0)(
    'does not take an ecosystem of another user for one that does not run',
    async () => {
      await using _lock = await takeLock(root, '/run/here')
      process.seteuid?.(12_345)
      const answer = readLock(root).catch((error: unknown) => error)
      process.seteuid?.(0)
      expect(await answer).toMatchObject({
        code: 'ERR_ORCHESTRATOR_STATE_DIRECTORY',
        message: expect.stringContaining(`The data folder ${root} belongs to another user`) as string,
      })
      expect(await readLock(root)).toMatchObject({ run: '/run/here' })
    },
  )
})

async function flags(): Promise<string[]> {
  return (await readdir(join(root, 'lock'))).filter((name) => name.endsWith('.sock'))
}
