import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { until } from '@quintet/test-kit'
import { afterEach, describe, expect, it } from 'vitest'
import { findMarked } from '../../src/processes/find-processes.ts'
import {
  childMark,
  folderMark,
  markedCommand,
  runMark,
  type ProcessMark,
} from '../../src/processes/process-mark.ts'
import { isAlive } from '../trio.ts'

const started: number[] = []
afterEach(() => {
  for (const pid of started.splice(0).filter(isAlive)) process.kill(pid, 'SIGKILL')
})

/** A process in a session of its own, without a parent and without an environment. */
async function startEscaped(mark: ProcessMark): Promise<number> {
  const leave = `env -i setsid sh -c 'echo $$; exec sleep 1000' &`
  const [program = '', ...args] = markedCommand(['/bin/sh', '-c', leave], mark)
  const parent = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(createInterface(parent.stdout), 'line')) as [string]
  if (parent.exitCode === null) await once(parent, 'exit')
  started.push(Number(line))
  return Number(line)
}

describe.runIf(process.platform === 'linux')('process mark', () => {
  const folder = folderMark(randomBytes(8).toString('hex'))
  const run = runMark(folder)

  it('finds a process that has left everything but its limit, by its child, its run and its folder', async () => {
    const pid = await startEscaped(childMark(run, 1))
    for (const mark of [childMark(run, 1), run, folder]) expect(await findMarked(mark)).toEqual([pid])
    for (const mark of [childMark(run, 2), folderMark(randomBytes(8).toString('hex'))])
      expect(await findMarked(mark)).toEqual([])
  })

  it('lets a guardian end it when its owner is gone', async () => {
    const pid = await startEscaped(childMark(run, 3))
    const other = await startEscaped(childMark(runMark(folderMark(randomBytes(8).toString('hex'))), 3))
    const owner = spawn(
      process.execPath,
      [
        '--input-type=module',
        '-e',
        `const { startGuardian } = await import(${JSON.stringify(new URL('../../src/processes/guardian.ts', import.meta.url).href)})
         startGuardian(${JSON.stringify(run)})
         console.log('watched')
         setInterval(() => undefined, 1000)`,
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    )
    await once(createInterface(owner.stdout), 'line')
    owner.kill('SIGKILL')
    await until(() => !isAlive(pid))
    expect(isAlive(other)).toBe(true)
  })

  it('fits into the limit whatever the number of the child', () => {
    for (const number of [0, 1, 999_999, 1_000_000, Number.MAX_SAFE_INTEGER])
      expect(childMark(run, number).limit).toMatch(/^[1-9]\d{17}$/)
  })
})
