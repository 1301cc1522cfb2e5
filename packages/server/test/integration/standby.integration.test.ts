import { request } from 'node:http'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createTestHost } from '@quintet/core/testing'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { http, websocket } from '../../src/index.ts'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'qs-'))
})
afterEach(() => rm(folder, { recursive: true, force: true }))

function ask(target: { socketPath: string } | { port: number }): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asked = request({ ...target, host: '127.0.0.1', path: '/nothing', agent: false }, (response) => {
      response.resume()
      resolve(response.statusCode)
    })
    asked.once('error', reject)
    asked.end()
  })
}

describe.each([
  ['http', http, 404],
  ['websocket', websocket, 426],
])('%s in standby', (_name, make, status) => {
  it('answers on a private socket, and on its own from when it takes over', async () => {
    const socketPath = join(folder, 'next.sock')
    await using host = createTestHost({ standby: socketPath, port: 0 })
    const running = await make().start(host)
    expect(running.url).toMatch(/^unix:/)
    expect(await ask({ socketPath })).toBe(status)
    await running.takeOver?.()
    const { port } = new URL(running.url ?? '')
    expect(await ask({ port: Number(port) })).toBe(status)
    await expect(ask({ socketPath })).rejects.toThrow(/ENOENT|ECONNREFUSED/)
    await running.drain('deployment', AbortSignal.timeout(5_000))
    await running.close()
  })

  it('leaves nothing behind when it is closed without having taken over', async () => {
    await using host = createTestHost({ standby: join(folder, 'next.sock'), port: 0 })
    const running = await make().start(host)
    await running.drain('shutdown', AbortSignal.timeout(5_000))
    await running.close()
    expect(await readdir(folder)).toEqual([])
  })
})
