import { resolve } from 'node:path'
import { startEcosystem, type EcosystemEvent, type RunningEcosystem } from '@quintet/orchestrator'
import type { Stage } from './stage.ts'

const configFile = resolve(import.meta.dirname, '../../../quintet.config.ts')

export interface StageOptions {
  /** Where data, logs and secrets are kept. @defaultValue a folder of the user's */
  readonly directory?: string
  /** `auto` gives every process a free port. */
  readonly ports: 'fixed' | 'auto'
  readonly gatewayPort?: number
  readonly onEvent?: (event: EcosystemEvent) => void
  readonly signal?: AbortSignal
}

/** A stage that runs the ecosystem in this process. */
export interface LiveStage extends Stage {
  readonly ecosystem: RunningEcosystem
  /** Every process that was ever seen. */
  readonly seenPids: ReadonlySet<number>
}

/** Starts the five apps, their gateway and their servers. Resolves when all are ready. */
export async function openStage(options: StageOptions): Promise<LiveStage> {
  const ecosystem = await startEcosystem(configFile, {
    ports: options.ports,
    env: {
      ...process.env,
      ...(options.directory && { MEDIA_DIRECTORY: resolve(options.directory, 'objects') }),
    },
    ...(options.directory && { dataDirectory: options.directory }),
    ...(options.gatewayPort !== undefined && { gatewayPort: options.gatewayPort }),
    ...(options.onEvent && { onEvent: options.onEvent }),
    ...(options.signal && { signal: options.signal }),
  })
  const seenPids = new Set<number>()
  const look = async (): Promise<Awaited<ReturnType<typeof ecosystem.status>>> => {
    const status = await ecosystem.status()
    for (const { pid } of [...status.processes, ...status.servers]) if (pid !== null) seenPids.add(pid)
    return status
  }
  await look()
  return {
    ecosystem,
    seenPids,
    gatewayUrl: ecosystem.gatewayUrl ?? '',
    operatorPassword: ecosystem.secret('operator'),
    maintenanceToken: ecosystem.secret('maintenance-token'),
    async pidOf(app, process) {
      const { processes } = await look()
      const found = processes.find((each) => each.app === app && each.process === process)
      return found?.pid ?? 0
    },
    stop: () => ecosystem.stop('the demo ends'),
  }
}
