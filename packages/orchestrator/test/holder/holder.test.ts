import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import fs from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { connect, createServer } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort, until } from '@quintet/test-kit'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { HolderEvent } from '../../src/holder/holder-events.ts'
import { startHolder, type Holder } from '../../src/holder/holder.ts'
import type { PlannedProcess } from '../../src/plan/plan.ts'
import { endLeftovers } from '../../src/processes/end-leftovers.ts'
import { findMarked } from '../../src/processes/find-processes.ts'
import { isPortFree } from '../../src/processes/free-port.ts'
import {
  childMark,
  folderMark,
  markedCommand,
  markVariable,
  runMark,
} from '../../src/processes/process-mark.ts'
import type { ChildEnding } from '../../src/supervisor/child.ts'
import { followHeldChild } from '../../src/supervisor/held-child.ts'

const ofFolder = folderMark('holder-test')
const ofRun = runMark(ofFolder)
let number = 0

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "q ho'lder-"))
})
afterEach(async () => {
  await endLeftovers(() => findMarked(ofFolder), { signal: 'SIGTERM', graceMs: 0 })
  await rm(folder, { recursive: true, force: true })
})

const hold = (port?: number): Promise<Holder> =>
  startHolder(
    join(folder, 'app'),
    port === undefined ? [] : [{ name: 'http', host: '127.0.0.1', port }],
    childMark(ofRun, (number += 1)),
  )

interface Finished {
  readonly ending: ChildEnding
  readonly out: string
  readonly err: string
}

/** Runs a command as a generation to its end. */
async function run(
  holder: Holder,
  generation: number,
  command: readonly string[],
  env: Readonly<Record<string, string>> = {},
  onPid: (pid: number) => void = () => undefined,
): Promise<Finished> {
  const mark = childMark(ofRun, (number += 1))
  const { promise, resolve } = Promise.withResolvers<ChildEnding>()
  const output = { out: '', err: '' }
  const read = (name: 'out' | 'err') => async (stream: NodeJS.ReadableStream) => {
    for await (const chunk of stream) output[name] += String(chunk)
  }
  followHeldChild({
    process: { stopTimeout: 1_000 } as PlannedProcess,
    holder,
    generation,
    mark,
    identity: undefined,
    stopping: false,
    ports: [],
    started: ({ pid }) => onPid(pid),
    exited: () => undefined,
    gone: resolve,
    output: { stdout: read('out'), stderr: read('err') },
  })
  const given = { PATH: process.env['PATH'] ?? '', [markVariable]: mark.variable, ...env }
  holder.start(generation, { command: markedCommand(command, mark), cwd: '/', env: given })
  return { ending: await promise, ...output }
}

describe('a holder', () => {
  it('tells how each generation has ended, with all that it said', async () => {
    const holder = await hold()
    expect(await run(holder, 1, ['/bin/sh', '-c', 'echo said; echo wrong >&2; exit 7'])).toEqual({
      ending: { reason: 'exit code 7', success: false },
      out: 'said\n',
      err: 'wrong\n',
    })
    expect(await run(holder, 2, ['true'])).toMatchObject({ ending: { reason: 'exit code 0', success: true } })
    expect(await run(holder, 3, ['/nothing/here'])).toMatchObject({
      ending: { reason: 'exit code 127' },
      err: expect.stringContaining('/nothing/here') as string,
    })
    const killed = run(holder, 4, ['sleep', '1000'], {}, (pid) => process.kill(pid, 'SIGKILL'))
    expect(await killed).toMatchObject({ ending: { reason: 'killed by SIGKILL', success: false } })
    expect((await readdir(holder.folder)).toSorted()).toEqual(['control', 'errors', 'events'])
    expect(holder.isRunning).toBe(true)
  })

  it('hands on exactly the environment that it is told, whatever is in it', async () => {
    const holder = await hold()
    const env = { QUOTES: `it's "$HOME" \`id\` $(id)`, LINES: 'a\n\nb\n', EMPTY: '', BACK: '\\n\\' }
    const { out } = await run(holder, 1, [process.execPath, '-p', 'JSON.stringify(process.env)'], env)
    expect(JSON.parse(out)).toEqual({
      ...env,
      PATH: process.env['PATH'],
      // Every shell sets it.
      PWD: '/',
      QUINTET_MARK: expect.any(String) as string,
    })
    expect(() => holder.start(2, { command: ['true'], cwd: '/', env: { 'A-B': '1' } })).toThrow(
      'a shell cannot hand on an environment variable named "A-B"',
    )
  })

  it('keeps its sockets open between generations, and closes them when it is told to', async () => {
    const port = await freePort()
    const holder = await hold(port)
    const serve = `
      const { createServer } = require('node:net')
      createServer((socket) => socket.end(process.env.LISTEN_FDNAMES + process.argv[1], () => process.exit(0))).listen({ fd: 3 })`
    for (const generation of [1, 2]) {
      // Before there is anything that accepts: it waits.
      const answer = fetchText(port)
      const ran = run(holder, generation, [process.execPath, '-e', serve, String(generation)])
      expect(await answer).toBe(`http${generation}`)
      expect((await ran).ending).toEqual({ reason: 'exit code 0', success: true })
    }
    expect(await isPortFree(port)).toBe(false)
    holder.end()
    await until(() => !holder.isRunning)
    expect(await isPortFree(port)).toBe(true)
    expect(() => holder.start(3, { command: ['true'], cwd: '/', env: {} })).toThrow()
  })

  it('keeps the output and the exit code of a generation while nothing follows it', async () => {
    const holder = await hold()
    const mark = childMark(ofRun, (number += 1))
    const command = ['/bin/sh', '-c', 'echo last words; exit 3']
    holder.start(1, {
      command,
      cwd: '/',
      env: { PATH: process.env['PATH'] ?? '', [markVariable]: mark.variable },
    })
    const events: HolderEvent[] = []
    await until(async () => (await readFile(join(holder.folder, 'events'), 'utf8')).includes('ended 1 3'))
    holder.follow((event) => events.push(event))[Symbol.dispose]()
    expect(events.map(({ type }) => type)).toEqual(['holding', 'started', 'ended'])
    let out = ''
    const ending = await new Promise<ChildEnding>((resolve) =>
      followHeldChild({
        process: { stopTimeout: 1_000 } as PlannedProcess,
        holder,
        generation: 1,
        mark,
        identity: undefined,
        stopping: false,
        ports: [],
        started: () => undefined,
        exited: () => undefined,
        gone: resolve,
        output: {
          async stdout(stream) {
            for await (const chunk of stream) out += String(chunk)
          },
          stderr: async () => undefined,
        },
      }),
    )
    expect(ending.reason).toBe('exit code 3')
    expect(out).toBe('last words\n')
  })

  it('is not started on an address that something else has', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as { port: number }
    await expect(hold(port)).rejects.toThrow(`127.0.0.1:${port} cannot be listened on: it is in use by pid`)
    server.close()
    expect(await readdir(folder)).toEqual([])
  })

  it('leaves nothing behind when it does not come up, and says why', async () => {
    vi.stubEnv('PATH', '/nowhere')
    onTestFinished(() => void vi.unstubAllEnvs())
    await expect(hold()).rejects.toThrow(/It cannot be held: its holder did not come up: .*mkfifo/)
    expect(await readdir(folder)).toEqual([])
  })

  it('is not started on a full disk, which is said at once', async () => {
    const write = vi.spyOn(fs, 'writeFileSync').mockImplementation(() => {
      throw Object.assign(new Error('ENOSPC: no space left on device, write'), { code: 'ENOSPC' })
    })
    syncBuiltinESMExports()
    onTestFinished(() => {
      write.mockRestore()
      syncBuiltinESMExports()
    })
    await expect(hold()).rejects.toThrow(
      'It cannot be held: its folder cannot be written: ENOSPC: no space left on device, write.',
    )
    expect(await readdir(folder)).toEqual([])
  })
})

async function fetchText(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text
}
