import type { System } from '@quintet/core'
import { badCommand } from '../errors.ts'

/** Ports by transport. */
export type Ports = Readonly<Record<string, number>>

/** @throws OrchestratorError `ERR_ORCHESTRATOR_BAD_COMMAND` when `QUINTET_PORTS` is no JSON object of ports. */
export function readPorts(env: NodeJS.ProcessEnv): Ports {
  const text = env['QUINTET_PORTS']
  if (!text) return {}
  const ports = parse(text)
  if (isPorts(ports)) return ports
  throw badCommand(
    `QUINTET_PORTS: ${JSON.stringify(text)} is no JSON object of ports from 0 to 65535. Give e.g. {"http":3002}.`,
  )
}

/**
 * Each port must be that of one transport.
 *
 * @throws OrchestratorError `ERR_ORCHESTRATOR_BAD_COMMAND` when no process here has such a transport, or several do.
 */
export function assertPorts(system: System, processes: readonly string[], ports: Ports): void {
  for (const [transport, port] of Object.entries(ports)) {
    const owners = processes.filter((name) => transportsOf(system, name).includes(transport))
    if (owners.length === 0) {
      const known = [...new Set(processes.flatMap((name) => transportsOf(system, name)))]
      throw badCommand(
        `port ${transport}=${port}: there is no transport "${transport}". Transports: ${known.join(', ') || 'none'}.`,
      )
    }
    if (owners.length > 1 && port !== 0)
      throw badCommand(
        `port ${transport}=${port}: ${owners.join(' and ')} have a transport "${transport}" each, and cannot share a port. Name one with --process, or give ${transport}=0.`,
      )
  }
}

/** What a process has transports for; with all processes in one, each takes its own. */
export function ofTransports(
  system: System,
  process: string,
  given: Readonly<Record<string, number>>,
): Record<string, number> {
  const transports = transportsOf(system, process)
  return Object.fromEntries(Object.entries(given).filter(([transport]) => transports.includes(transport)))
}

function transportsOf(system: System, process: string): readonly string[] {
  return Object.keys(system.processes.find(({ name }) => name === process)?.transports ?? {})
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

function isPorts(value: unknown): value is Ports {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.values(value).every((port) => Number.isInteger(port) && port >= 0 && port <= 65_535)
}
