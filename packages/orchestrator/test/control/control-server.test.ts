import { mkdtemp, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { until } from '@quintet/test-kit'
import { describe, expect, it } from 'vitest'
import { controlFile, openControlServer, type ControlAddress } from '../../src/control/control-server.ts'
import type { RunningEcosystem } from '../../src/index.ts'

describe('apply', () => {
  it('is refused where nothing could take over, after it was told what would change', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'q-'))
    const changes = { started: ['a/http'], stopped: [], reloaded: [], supervised: [], settings: [] }
    const ecosystem = {
      onEvent: () => ({ [Symbol.dispose]: () => undefined }),
      changes: () => changes,
    } as unknown as RunningEcosystem
    const control = await openControlServer(ecosystem, folder)
    const { socket: path, token } = JSON.parse(readFileSync(controlFile(folder), 'utf8')) as ControlAddress
    const ask = async (dryRun: boolean): Promise<unknown> => {
      const socket = connect(path)
      socket.write(`${JSON.stringify({ command: 'apply', token, plan: {}, dryRun })}\n`)
      const lines: unknown[] = []
      for await (const line of createInterface(socket)) lines.push(JSON.parse(line))
      return lines.at(-1)
    }
    expect(await ask(true)).toEqual({ result: changes })
    expect(await ask(false)).toMatchObject({
      error: { message: expect.stringContaining('It runs in the foreground') as string },
    })
    await control.close()
    await rm(folder, { recursive: true, force: true })
  })
})

describe('follow', () => {
  it('holds no more than a megabyte for a reader that stands still, and tells it what it has lost', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'q-'))
    let emit: ((id: string, line: string) => void) | undefined
    const ecosystem = {
      follow(_name: string | undefined, onLine: typeof emit) {
        emit = onLine
        return { [Symbol.dispose]: () => undefined }
      },
    } as unknown as RunningEcosystem
    const control = await openControlServer(ecosystem, folder)
    const { socket: path, token } = JSON.parse(readFileSync(controlFile(folder), 'utf8')) as ControlAddress
    const reader = connect(path)
    reader.write(`${JSON.stringify({ command: 'follow', token })}\n`)
    await until(() => emit !== undefined)
    reader.pause()
    const before = process.memoryUsage().rss
    const line = JSON.stringify({ msg: 'x'.repeat(10_000) })
    // 500 MB.
    for (let count = 0; count < 50_000; count++) {
      emit?.('app/http', line)
      if (count % 1_000 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    expect(process.memoryUsage().rss - before).toBeLessThan(100e6)
    const messages: string[] = []
    createInterface(reader).on('line', (text) => messages.push(text))
    await until(() => {
      emit?.('app/http', line)
      return messages.some((text) => /\d+ lines were dropped: the reader did not keep up/.test(text))
    })
    reader.destroy()
    await control.close()
    await rm(folder, { recursive: true, force: true })
  })
})
