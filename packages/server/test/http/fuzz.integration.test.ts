import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { fuzzHttp, fuzzSeconds } from '@quintet/test-kit'
import { expect, it } from 'vitest'

it.each([3, 4])(
  'no connection of any kind ends the process or keeps it from stopping (seed %i)',
  async (seed) => {
    const file = fileURLToPath(new URL('../support/fuzzed-server.ts', import.meta.url))
    const child = fork(file, { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] })
    let errors = ''
    child.stderr?.on('data', (chunk: Buffer) => (errors += chunk.toString()))
    try {
      const [url] = (await once(child, 'message')) as [string]
      const made = await fuzzHttp({
        url,
        seed,
        paths: ['/hello', '/rpc/echo/ping'],
        socketPaths: ['/ws', '/hello'],
      })
      expect(made).toBeGreaterThan(50)
      expect(errors).toBe('')
      expect(await (await fetch(`${url}/hello`)).text()).toBe('hello')
      child.send('stop')
      expect(await once(child, 'message')).toEqual(['stopped', undefined])
    } finally {
      child.kill('SIGKILL')
    }
  },
  fuzzSeconds * 1_000 + 30_000,
)
