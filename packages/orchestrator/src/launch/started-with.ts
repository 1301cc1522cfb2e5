import { createHash } from 'node:crypto'
import type { SocketAddress } from '../holder/listening-sockets.ts'
import type { Plan, PlannedProcess } from '../plan/plan.ts'

export interface StartInput {
  readonly plan: Plan
  readonly ports: ReadonlyMap<string, Readonly<Record<string, number>>>
  /** Of a process, with what it inherits. */
  readonly environment: (id: string, inherited?: Readonly<Record<string, string>>) => Record<string, string>
}

/** All that a process is started with: when it differs, the process is to be started again. */
export interface StartedWith {
  readonly command: readonly string[] | undefined
  readonly cwd: string | undefined
  readonly addresses: readonly SocketAddress[]
  readonly ports: Readonly<Record<string, number>> | undefined
  readonly environment: Readonly<Record<string, string>>
}

export function startedWith(id: string, input: StartInput): StartedWith {
  const planned = find(id, input)
  return {
    command: planned?.command,
    cwd: planned?.cwd,
    addresses: addressesOf(id, input),
    ports: input.ports.get(id),
    // What it inherits differs from shell to shell, and is no reason to start it again.
    environment: input.environment(id, {}),
  }
}

/** Where the transports of a process listen that take a socket from outside. */
export function addressesOf(id: string, input: StartInput): SocketAddress[] {
  const { plan, ports, environment } = input
  return Object.entries(find(id, input)?.addresses ?? {}).map(([name, host]) => ({
    name,
    host: (plan.gateway?.processId === id && environment(id)['GATEWAY_HOST']) || host,
    port: ports.get(id)?.[name] ?? 0,
  }))
}

export function digestOf({ command, cwd, addresses, ports, environment }: StartedWith): string {
  const parts = [command, cwd, addresses, ports, environment]
  return createHash('sha256').update(JSON.stringify(parts)).digest('base64url')
}

/** What differs, in words; of environment variables the names alone. */
export function differencesOf(before: StartedWith, after: StartedWith): string[] {
  const parts = ['command', 'cwd', 'addresses', 'ports'] as const
  const different = parts.filter((part) => JSON.stringify(before[part]) !== JSON.stringify(after[part]))
  const names = new Set([...Object.keys(before.environment), ...Object.keys(after.environment)])
  return [...different, ...[...names].filter((name) => before.environment[name] !== after.environment[name])]
}

function find(id: string, { plan }: StartInput): PlannedProcess | undefined {
  return plan.processes.find((each) => each.id === id)
}
