import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it, vi } from 'vitest'
import { sendCommand } from '../../src/control/control-client.ts'
import { controlFile } from '../../src/control/control-server.ts'
import { takeLock } from '../../src/state/lock.ts'

afterEach(() => {
  vi.useRealTimers()
})

it.each(['status', 'down', 'restart', 'follow'] as const)(
  '%s ends with the pid of a supervisor that says nothing',
  async (command) => {
    const folder = await mkdtemp(join(tmpdir(), 'q-'))
    const lock = await takeLock(folder, folder)
    const socket = join(folder, 'c.sock')
    const sockets: Socket[] = []
    const frozen = createServer((each) => void sockets.push(each)).listen(socket)
    await once(frozen, 'listening')
    await writeFile(controlFile(folder), JSON.stringify({ socket, token: '' }))
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
    const connected = once(frozen, 'connection')
    const answer = sendCommand(folder, { command, name: 'one' }).catch((error: unknown) => error)
    await connected
    vi.advanceTimersByTime(10_000)
    expect(await answer).toMatchObject({
      code: 'ERR_ORCHESTRATOR_CONTROL_FAILED',
      message: expect.stringContaining(`The supervisor (pid ${process.pid}) does not answer`) as string,
    })
    for (const each of sockets) each.destroy()
    frozen.close()
    await lock.release()
    await rm(folder, { recursive: true, force: true })
  },
)
