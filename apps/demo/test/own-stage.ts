import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { vi } from 'vitest'
import { createHttpClient, type Client } from '../src/client.ts'
import { openStage, type LiveStage } from '../src/live-stage.ts'

/** A running ecosystem of one test file alone. */
export interface OwnStage {
  readonly stage: LiveStage
  readonly client: Client
  /** Where its data, logs and secrets are. */
  readonly directory: string
  /** Stops it and removes its data. */
  close(): Promise<void>
}

/** Starts the ecosystem with servers of its own, since other tests run the same apps beside it. */
export async function openOwnStage(options: { readonly redisUrl?: string } = {}): Promise<OwnStage> {
  vi.stubEnv('DATABASE_URL', undefined)
  vi.stubEnv('REDIS_URL', options.redisUrl)
  const directory = await mkdtemp(join(tmpdir(), 'quintet-stage-'))
  const stage = await openStage({ directory, ports: 'auto' })
  return {
    stage,
    directory,
    client: createHttpClient(stage.gatewayUrl),
    async close() {
      await stage.stop()
      await rm(directory, { recursive: true, force: true })
    },
  }
}
