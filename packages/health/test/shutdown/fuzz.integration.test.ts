import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { fuzzHttp, fuzzSeconds } from '@quintet/test-kit'
import { expect, it } from 'vitest'

it.each([5, 6])(
  'gracefulShutdown neither ends a server under connections of every kind, nor hangs on what they leave (seed %i)',
  async (seed) => {
    const file = fileURLToPath(new URL('./fuzzed-server.ts', import.meta.url))
    const child = fork(file, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
    let errors = ''
    child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    try {
      const [url] = (await once(child, 'message')) as [string]
      const made = await fuzzHttp({ url, seed, paths: ['/', '/x'], socketPaths: ['/ws'] })
      expect(made).toBeGreaterThan(50)
      expect(errors).toBe('')
      expect(await (await fetch(url)).text()).toBe('hello')
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      expect(await exited).toEqual([0, null])
    } finally {
      child.kill('SIGKILL')
    }
  },
  fuzzSeconds * 1_000 + 30_000,
)
