import type { SupervisorLossPolicy } from '@quintet/core/ecosystem'
import { createWriteStream } from 'node:fs'
import { text } from 'node:stream/consumers'
import { describeError } from '../errors.ts'
import type { Plan } from '../plan/plan.ts'
import { serveEcosystem } from './serve-ecosystem.ts'
import type { EcosystemEvent } from '../running/ecosystem-events.ts'

/** What `quintet up` hands to the process that stays, on its standard input: the environment in it stands in no file. */
export interface DaemonInput {
  readonly plan: Plan
  readonly dataDirectory: string
  readonly ports: 'fixed' | 'auto'
  readonly gatewayPort: number | null
  readonly onSupervisorLoss: SupervisorLossPolicy
}

/** What the process that stays tells `quintet up` on its fourth descriptor, until it is launched. */
export type DaemonMessage =
  | { readonly type: 'event'; readonly event: EcosystemEvent }
  | { readonly type: 'launched' }
  | { readonly type: 'problem'; readonly message: string }

/** The body of the supervisor in the background. */
export async function runDaemon(): Promise<void> {
  const parent = createWriteStream('', { fd: 3 })
  parent.on('error', () => undefined)
  const tell = (message: DaemonMessage): void => {
    if (parent.writable) parent.write(`${JSON.stringify(message)}\n`)
  }
  try {
    const input = JSON.parse(await text(process.stdin)) as DaemonInput
    process.exitCode = await serveEcosystem(input.plan, {
      dataDirectory: input.dataDirectory,
      ports: input.ports,
      onSupervisorLoss: input.onSupervisorLoss,
      ...(input.gatewayPort === null ? {} : { gatewayPort: input.gatewayPort }),
      onEvent: (event) => tell({ type: 'event', event }),
      onLaunched() {
        tell({ type: 'launched' })
        parent.end()
      },
    })
  } catch (error) {
    tell({ type: 'problem', message: describeError(error) })
    parent.end()
    process.exitCode = 1
  }
}
