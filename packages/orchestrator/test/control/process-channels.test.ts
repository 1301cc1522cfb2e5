import { mkdtemp, rm } from 'node:fs/promises'
import { once } from 'node:events'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openProcessChannels, type ProcessChannels } from '../../src/control/process-channels.ts'

let folder: string
let channels: ProcessChannels
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'q-'))
  channels = await openProcessChannels(join(folder, 'p.sock'), 'key')
})
afterEach(async () => {
  await channels.close()
  await rm(folder, { recursive: true, force: true })
})

/** Says hello, then these messages, and waits until all were read. */
async function say(token: string, messages: readonly unknown[]): Promise<void> {
  const socket = connect(channels.path)
  await once(socket, 'connect')
  socket.end([{ type: 'hello', token }, ...messages].map((each) => `${JSON.stringify(each)}\n`).join(''))
  socket.resume()
  await once(socket, 'close')
}

describe('a process', () => {
  it.each([
    null,
    [],
    'fail',
    { status: 'fail' },
    { status: 'fail', checks: null },
    { status: 'fail', checks: [] },
    { status: 'fail', checks: { db: null } },
    { status: 'fail', checks: { db: { status: 'down', durationMs: 1 } } },
    { status: 'fail', checks: { db: { status: 'fail', durationMs: 1, detail: {} } } },
    { status: 'down', checks: {} },
  ])('is not believed a report of the form %j', async (report) => {
    const heard: unknown[] = []
    const { token } = channels.open(
      {
        standby: () => undefined,
        stopping: () => undefined,
        ready: (urls) => heard.push(urls),
        report: (_probe, given) => heard.push(given),
        startFailed: () => undefined,
      },
      'one',
    )
    await say(token, [
      { type: 'report', probe: 1, report },
      { type: 'ready', urls: { http: 'http://x' } },
    ])
    expect(heard).toEqual([{ http: 'http://x' }])
  })

  it('whose message cannot be handled loses its connection, and nothing else happens', async () => {
    const { token } = channels.open(
      {
        standby: () => undefined,
        stopping: () => undefined,
        ready: () => {
          throw new Error('a bug of ours')
        },
        report: () => undefined,
        startFailed: () => undefined,
      },
      'one',
    )
    await say(token, [{ type: 'ready', urls: {} }])
  })
})
