import { mkdtemp, realpath, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from '@quintet/test-kit'
import { expect, it, vi } from 'vitest'
import type { Plan } from '../../src/plan/plan.ts'
import { findWorkingIn } from '../../src/processes/find-processes.ts'
import type { EcosystemEvent } from '../../src/running/ecosystem-events.ts'
import { startServers } from '../../src/servers/servers.ts'
import { openSecrets } from '../../src/state/secrets.ts'
import { prepareStateDirectory, stateDirectory } from '../../src/state/state-directory.ts'

// A database cluster is made here, also on a machine that is busy with other things.
vi.setConfig({ testTimeout: 120_000 })

it('a stop waits for a server that is being started again, and leaves none behind', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'q-'))
  try {
    const state = stateDirectory(folder)
    prepareStateDirectory(state)
    const events: EcosystemEvent[] = []
    const servers = await startServers({
      plan: {
        postgres: { url: null, port: null },
        redis: false,
        apps: [{ requires: { postgres: true } }],
      } as unknown as Plan,
      state,
      secrets: openSecrets(state.secretsFile),
      env: { PATH: process.env['PATH'], HOME: process.env['HOME'] },
      onEvent: (event) => events.push(event),
      onLost: () => undefined,
    })
    const [server] = servers.list
    process.kill(server?.pid ?? 0, 'SIGKILL')
    await until(() => events.some((event) => event.type === 'server' && event.state === 'ended'))
    await servers.stop()
    const data = await realpath(join(state.postgres, 'data'))
    expect(await findWorkingIn(data, 'postgres')).toEqual([])
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
