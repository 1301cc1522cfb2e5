import { OrchestratorError } from '../errors.ts'
import { describePortOwner, findPortOwner, freePort, isPortFree } from '../infrastructure/index.ts'
import type { Plan } from '../plan/plan.ts'

export interface AssignPortsOptions {
  /** `auto`: every transport gets a free port, whatever the plan says; for tests beside a running system. */
  readonly ports: 'fixed' | 'auto'
  /** In place of the plan's, and of `auto`. */
  readonly gatewayPort: number | undefined
}

/**
 * Gives every transport its port before anything starts, so that the gateway knows them.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_PORT_IN_USE` naming every port that is taken, and by whom.
 */
export async function assignPorts(
  plan: Plan,
  options: AssignPortsOptions,
): Promise<Map<string, Readonly<Record<string, number>>>> {
  const assigned = new Map<string, Readonly<Record<string, number>>>()
  const taken: string[] = []
  for (const { id, ports } of plan.processes) {
    const given: Record<string, number> = {}
    for (const [transport, planned] of Object.entries(ports)) {
      const isGateway = plan.gateway?.processId === id
      const wanted =
        isGateway && options.gatewayPort !== undefined
          ? options.gatewayPort
          : options.ports === 'auto'
            ? 0
            : planned
      given[transport] = wanted === 0 ? await freePort() : wanted
      if (wanted !== 0 && !(await isPortFree(wanted))) {
        taken.push(
          `${id} needs port ${wanted}, which is in use by ${describePortOwner(await findPortOwner(wanted))}.`,
        )
      }
    }
    assigned.set(id, given)
  }
  if (taken.length === 0) return assigned
  throw new OrchestratorError(
    `${taken.join('\n')}\nStop what uses ${taken.length === 1 ? 'it' : 'them'}, or choose other ports (--port for the gateway, --ports auto for all).`,
    {
      code: 'ERR_ORCHESTRATOR_PORT_IN_USE',
      kind: 'conflict',
    },
  )
}
