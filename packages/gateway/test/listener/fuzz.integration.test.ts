import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { fuzzHttp, fuzzSeconds } from '@quintet/test-kit'
import { describe, expect, it, vi } from 'vitest'
import type { GatewayStatus } from '../../src/index.ts'

describe('a gateway under connections of every kind', () => {
  it.each([1, 2])(
    'neither ends nor keeps anything (seed %i)',
    async (seed) => {
      const child = fork(
        fileURLToPath(new URL('../support/fuzzed-gateway.ts', import.meta.url)),
        [String(seed)],
        { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] },
      )
      let errors = ''
      child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
      try {
        const [url] = (await once(child, 'message')) as [string]
        const made = await fuzzHttp({ url, seed, paths: ['/api/app/x', '/livez'], socketPaths: ['/ws/room'] })
        expect(made).toBeGreaterThan(50)
        expect(errors).toBe('')
        expect(child.exitCode).toBe(null)
        const left = async (): Promise<number[]> => {
          child.send('status')
          const [{ connections, requests, websockets, routes }] = (await once(child, 'message')) as [
            GatewayStatus,
          ]
          const loads = routes.flatMap(({ upstreams }) =>
            upstreams.flatMap((each) => [each.requests, each.websockets]),
          )
          return [connections, requests, websockets, ...loads]
        }
        await vi.waitFor(
          async () => expect(await left()).toEqual(Array.from({ length: 11 }, () => 0)),
          10_000,
        )
      } finally {
        child.kill('SIGKILL')
      }
    },
    fuzzSeconds * 1_000 + 30_000,
  )
})
