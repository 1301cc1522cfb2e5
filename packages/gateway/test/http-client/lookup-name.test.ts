import { execFile } from 'node:child_process'
import type { lookup as Lookup } from 'node:dns'
import { promisify } from 'node:util'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { createLookup } from '../../src/http-client/lookup-name.ts'

/** Looks names up in this list, in order: addresses, or the code of an error. */
function startDns(...answers: (string | { readonly code: string })[]): () => Promise<string> {
  const dns = (_name: string, _options: unknown, callback: (...result: unknown[]) => void): void => {
    const answer = answers.shift()
    if (typeof answer === 'string') callback(null, [{ address: answer, family: 4 }])
    else callback(Object.assign(new Error('no address'), answer))
  }
  const lookup = createLookup(dns as unknown as typeof Lookup)
  return () =>
    new Promise((resolve) =>
      lookup('app.internal', { all: true }, (error, addresses) =>
        resolve(error?.code ?? (addresses as { address: string }[])[0]?.address ?? ''),
      ),
    )
}

describe('the addresses of an upstream', () => {
  afterEach(() => vi.restoreAllMocks())

  it('are those that its name has now', async () => {
    const ask = startDns('10.0.0.1', '10.0.0.2')
    expect([await ask(), await ask()]).toEqual(['10.0.0.1', '10.0.0.2'])
  })

  it('are the last ones for as long as DNS fails', async () => {
    const ask = startDns('10.0.0.1', { code: 'EAI_AGAIN' }, { code: 'EAI_AGAIN' }, '10.0.0.2')
    expect(await ask()).toBe('10.0.0.1')
    const now = performance.now()
    vi.spyOn(performance, 'now').mockReturnValue(now + 86_400_000)
    expect([await ask(), await ask(), await ask()]).toEqual(['10.0.0.1', '10.0.0.1', '10.0.0.2'])
  })

  it('are the last ones for a minute where the name is said not to exist', async () => {
    const ask = startDns('10.0.0.1', { code: 'ENOTFOUND' }, { code: 'ENOTFOUND' })
    const now = performance.now()
    vi.spyOn(performance, 'now').mockReturnValue(now)
    expect([await ask(), await ask()]).toEqual(['10.0.0.1', '10.0.0.1'])
    vi.spyOn(performance, 'now').mockReturnValue(now + 61_000)
    expect(await ask()).toBe('ENOTFOUND')
  })

  it('are an error where there never were any', async () => {
    expect(await startDns({ code: 'EAI_AGAIN' })()).toBe('EAI_AGAIN')
  })

  it('cannot be looked up without a descriptor, and the error says so', async () => {
    const file = new URL('../../src/http-client/lookup-name.ts', import.meta.url).pathname
    const script = `
      const { openSync } = await import('node:fs')
      const { createLookup } = await import(${JSON.stringify(file)})
      const dns = (_name, _options, done) => done(Object.assign(new Error('no files'), { code: 'ENOTFOUND' }))
      const ask = () => createLookup(dns)('localhost', {}, (error) => process.exitCode = error.code === 'EMFILE' ? 7 : 1)
      try { for (;;) openSync('/dev/null', 'r') } catch { ask() }`
    const limited = `ulimit -n 64; exec "$0" --input-type=module -e "$1"`
    const run = promisify(execFile)('sh', ['-c', limited, process.execPath, script])
    await expect(run).rejects.toMatchObject({ code: 7 })
  })
})
