import { join, resolve } from 'node:path'
import { startEcosystem } from '@quintet/orchestrator'
import type { Servers, Stack } from './stack.ts'

const configFile = resolve(import.meta.dirname, '../../quintet.config.ts')

/** The example apps behind our gateway; their supervisor runs in the process of the bench and does not count. */
export async function startOurs({ postgresUrl, redisUrl, directory }: Servers): Promise<Stack> {
  const ecosystem = await startEcosystem(configFile, {
    ports: 'auto',
    dataDirectory: join(directory, 'ours'),
    env: {
      ...process.env,
      DATABASE_URL: postgresUrl,
      REDIS_URL: redisUrl,
      MEDIA_DIRECTORY: join(directory, 'ours', 'objects'),
    },
  })
  return {
    origin: ecosystem.gatewayUrl ?? '',
    async pids() {
      const { processes } = await ecosystem.status()
      return processes.flatMap(({ pid }) => (pid === null ? [] : [pid]))
    },
    [Symbol.asyncDispose]: () => ecosystem.stop(),
  }
}
