import { join, resolve } from 'node:path'
import { startEcosystem } from '@quintet/orchestrator'
import type { Servers, Stack } from './stack.ts'

const configFile = resolve(import.meta.dirname, '../../quintet.config.ts')

/** A stack that knows its processes by name. */
export interface OurStack extends Stack {
  processes(): Promise<readonly { readonly id: string; readonly pid: number }[]>
}

/** The example apps behind our gateway; their supervisor runs in the process of the bench and does not count. */
export async function startOurs({ postgresUrl, redisUrl, directory }: Servers): Promise<OurStack> {
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
  const processes: OurStack['processes'] = async () => {
    const status = await ecosystem.status()
    return status.processes.flatMap(({ id, pid }) => (pid === null ? [] : [{ id, pid }]))
  }
  return {
    origin: ecosystem.gatewayUrl ?? '',
    processes,
    pids: async () => (await processes()).map(({ pid }) => pid),
    [Symbol.asyncDispose]: () => ecosystem.stop(),
  }
}
