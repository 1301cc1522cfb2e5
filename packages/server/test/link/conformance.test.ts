import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { anonymous, isQuintetError, type Principal } from '@quintet/core'
import { createAttackHost, surfaceAttacks, type SurfaceAdapter } from '@quintet/core/testing'
import { afterEach, beforeEach, describe, it } from 'vitest'
import { createLinks } from '../../src/link.ts'

describe('a link', () => {
  let directory: string
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), 'ql-'))
  })
  afterEach(() => rm(directory, { recursive: true }))

  it.each(surfaceAttacks)('stands $name', async (attack) => {
    await using host = createAttackHost()
    const options = { directory, secret: 'a secret of thirty-two characters', system: 'test' }
    const running = await createLinks({ ...options, process: 'worker' }).expose().start(host)
    const caller = createLinks({ ...options, process: 'http' })
    const surface: SurfaceAdapter = {
      host,
      async call({ method, input, token }) {
        try {
          // The process in front has authenticated the user before it calls its sibling.
          const signal = new AbortController().signal
          const principal: Principal =
            token === undefined ? anonymous : await host.auth.authenticate({ scheme: 'bearer', token }, { signal })
          await using link = caller.connect('worker', () => principal)
          return { ok: true, output: await link.call(method, input) }
        } catch (error) {
          if (!isQuintetError(error)) throw error
          return { ok: false, kind: error.kind, code: error.code, message: error.message }
        }
      },
    }
    try {
      await attack.run(surface)
    } finally {
      await running.close()
    }
  })
})
