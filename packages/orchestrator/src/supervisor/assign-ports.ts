import { OrchestratorError } from '../errors.ts'
import type { Plan } from '../plan/plan.ts'
import { freePorts, portProblem } from '../processes/free-port.ts'
import { describePortOwner, findPortOwner } from '../processes/port-owner.ts'

export interface AssignPortsOptions {
  /** `auto`: every transport gets a free port, whatever the plan says; for tests beside a running system. */
  readonly ports: 'fixed' | 'auto'
  /** In place of the plan's, and of `auto`. */
  readonly gatewayPort: number | undefined
  /** Those of processes that run already, by process: they keep them where they may. */
  readonly kept?: ReadonlyMap<string, Readonly<Record<string, number>>>
}

/**
 * Gives every transport its port before anything starts, so that the gateway knows them.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_PORT_IN_USE` naming every port that cannot be had, and why.
 */
export async function assignPorts(
  plan: Plan,
  options: AssignPortsOptions,
): Promise<Map<string, Readonly<Record<string, number>>>> {
  const asked = askedPorts(plan, options)
  const fixed = new Set(asked.flatMap(({ ports }) => ports.map(({ port }) => port)))
  const missing = asked.flatMap(({ ports }) => ports.filter(({ port }) => port === 0)).length
  const taken: string[] = []
  for (const { id, ports } of asked) {
    for (const { port, isKept } of ports) {
      const problem = port === 0 || isKept ? undefined : await portProblem(port)
      if (problem !== undefined)
        taken.push(`${id} needs port ${port}, ${await describeProblem(port, problem)}.`)
    }
  }
  // Some more than needed: what is drawn may be one that another process here is to have.
  const free = (await freePorts(missing + fixed.size)).filter((port) => !fixed.has(port))
  const assigned = new Map(
    asked.map(({ id, ports }) => [
      id,
      Object.fromEntries(
        ports.map(({ transport, port }) => [transport, port === 0 ? (free.pop() ?? 0) : port]),
      ),
    ]),
  )
  if (taken.length === 0) return assigned
  throw new OrchestratorError(
    `${taken.join('\n')}\nChange that, or choose other ports (--port for the gateway, --ports auto for all).`,
    {
      code: 'ERR_ORCHESTRATOR_PORT_IN_USE',
      kind: 'conflict',
    },
  )
}

interface AskedPorts {
  readonly id: string
  readonly ports: readonly { readonly transport: string; readonly port: number; readonly isKept: boolean }[]
}

/** The port that each transport is to have: 0 for any free one. */
function askedPorts(plan: Plan, options: AssignPortsOptions): AskedPorts[] {
  const wanted = (id: string, planned: number): number => {
    if (plan.gateway?.processId === id && options.gatewayPort !== undefined) return options.gatewayPort
    return options.ports === 'auto' ? 0 : planned
  }
  return plan.processes.map(({ id, ports }) => ({
    id,
    ports: Object.entries(ports).map(([transport, planned]) => {
      const port = wanted(id, planned)
      const kept = options.kept?.get(id)?.[transport]
      const isKept = kept !== undefined && (port === 0 || port === kept)
      return { transport, port: isKept ? kept : port, isKept }
    }),
  }))
}

/** The ports that {@link assignPorts} would give, with 0 for those that it would choose. */
export function expectedPorts(
  plan: Plan,
  options: AssignPortsOptions,
): Map<string, Readonly<Record<string, number>>> {
  return new Map(
    askedPorts(plan, options).map(({ id, ports }) => [
      id,
      Object.fromEntries(ports.map(({ transport, port }) => [transport, port])),
    ]),
  )
}

/** What keeps a process from a port, as the end of a sentence. */
export async function describeProblem(port: number, problem: string): Promise<string> {
  if (problem === 'EADDRINUSE') return `which is in use by ${describePortOwner(await findPortOwner(port))}`
  if (problem === 'EACCES') return 'on which this user may not listen: ports below 1024 are for root'
  return `on which it cannot listen (${problem})`
}
