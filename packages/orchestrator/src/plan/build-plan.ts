import type { System } from '@quintet/core'
import { assertShutdownOrder, type Ecosystem, type EcosystemApp } from '@quintet/core/ecosystem'
import type { ResolvedProcess } from '@quintet/core/kit'
import { dirname, resolve } from 'node:path'
import { binPath } from '../bin-path.ts'
import { assertDatabaseNames } from './database-name.ts'
import { inTopologyOrder } from './topology-order.ts'
import { planGateway } from './plan-gateway.ts'
import { resolveUrls } from './url-references.ts'
import type { Plan, PlannedApp, PlannedProcess } from './plan.ts'

/** An app of the ecosystem with the system that its bootstrap file exports. */
export interface LoadedApp {
  readonly app: EcosystemApp
  readonly system: System
  readonly bootstrap: string
}

export interface PlanInput {
  readonly ecosystem: Ecosystem
  readonly configFile: string
  /** The enabled apps, in start order. */
  readonly apps: readonly LoadedApp[]
}

/**
 * Works out which processes there are, what each waits for and in which order they stop.
 *
 * @throws TypeError naming what contradicts itself.
 */
export function buildPlan(input: PlanInput): Plan {
  const { ecosystem, apps, configFile } = input
  assertShutdownOrder(
    apps.map(({ app, system }) => ({
      name: app.name,
      dependsOn: app.dependsOn,
      priority: system.shutdown.priority,
    })),
  )
  assertServers(ecosystem, apps)
  const withDatabase = apps.filter(({ system }) => system.requires.postgres)
  assertDatabaseNames(
    ecosystem.project,
    withDatabase.map(({ app }) => app.name),
  )
  const planned = apps.flatMap((loaded) => planApp(loaded, input))
  const gateway = planGateway(ecosystem, planned, dirname(configFile), ({ app, process }, transport) => {
    const system = apps.find((each) => each.app.name === app)?.system
    return system?.processes.find(({ name }) => name === process)?.transports[transport]?.webSocket
  })
  const processes = gateway ? [...planned, gateway.process] : planned
  assertPorts(processes, serverPorts(ecosystem, apps))
  for (const { env } of processes) {
    resolveUrls(env, (id, transport) => processes.find((each) => each.id === id)?.ports[transport])
  }
  return {
    version: 1,
    project: ecosystem.project,
    configFile,
    apps: apps.map((loaded) => toPlannedApp(loaded, dirname(configFile))),
    processes,
    postgres: ecosystem.infrastructure.postgres,
    redis: ecosystem.infrastructure.redis,
    gateway: gateway?.plan ?? null,
    supervision: ecosystem.supervision,
    metrics: ecosystem.monitoring.metrics,
    logging: ecosystem.logging,
  }
}

export function environmentPrefix(app: string): string {
  return `${app.toUpperCase().replaceAll('-', '_')}_`
}

function toPlannedApp({ app, system, bootstrap }: LoadedApp, baseUrl: string): PlannedApp {
  const { postgres, redis, secrets, migrations } = system.requires
  return {
    name: app.name,
    bootstrap: app.command ? null : bootstrap,
    prefix: environmentPrefix(app.name),
    dependsOn: app.dependsOn,
    critical: app.critical,
    watch: app.watch && { ...app.watch, directory: resolve(baseUrl, app.watch.directory) },
    requires: {
      postgres,
      redis,
      secrets,
      migrations: migrations === undefined ? null : resolve(dirname(bootstrap), migrations),
    },
  }
}

function planApp({ app, system, bootstrap }: LoadedApp, input: PlanInput): PlannedProcess[] {
  const appsBefore = app.dependsOn.flatMap((name) => readyGroups(input, name))
  const common = {
    app: app.name,
    cwd: resolve(dirname(bootstrap), app.command?.cwd ?? '.'),
    stopsBefore: [],
    restartsForever: false,
    // The app forces its own stop first, and names what hung; this is for one that does not even do that.
    stopTimeout: system.shutdown.propagationDelay + system.shutdown.timeout + 3_000,
    stopPriority: system.shutdown.priority,
  }
  const tasks: PlannedProcess[] = []
  if (system.requires.migrations !== undefined) {
    tasks.push({
      ...common,
      id: `${app.name}/migrate`,
      process: 'migrate',
      instance: 0,
      kind: 'task',
      command: [
        process.execPath,
        binPath,
        '@migrate',
        resolve(dirname(bootstrap), system.requires.migrations),
      ],
      env: { ...system.env, ...app.env },
      ports: {},
      addresses: {},
      isCommand: false,
      asked: null,
      standby: false,
      dependsOn: [],
      critical: true,
      startupTimeout: 300_000,
      health: false,
    })
  }
  const migrated = tasks.map((task) => [task.id])
  const order = inTopologyOrder(system.processes)
  // A critical app that names no critical process needs all of them.
  const namesCritical = system.processes.some((entry) => entry.critical)
  const services = order.flatMap((entry, position) => {
    const siblings = entry.topology.access
      .filter((name) => order.findIndex((other) => other.name === name) < position)
      .map((name) => instanceIds(app.name, system, name))
    return instanceIds(app.name, system, entry.name).map((id, instance): PlannedProcess => ({
      ...common,
      id,
      process: entry.name,
      instance,
      kind: 'service',
      command: app.command?.program ?? [
        ...[process.execPath, binPath, 'run', bootstrap],
        ...['--process', entry.name, '--instance', String(instance)],
      ],
      env: { ...system.env, ...entry.env, ...app.env },
      ports: portsOf(entry, instance),
      addresses: addressesOf(entry),
      isCommand: app.command !== null,
      asked: askedOf(app),
      standby: app.command === null && canStandBy(entry),
      dependsOn: [...migrated, ...appsBefore, ...siblings],
      critical: entry.critical || (app.critical && !namesCritical),
      startupTimeout: app.startupTimeout ?? entry.startupTimeout,
      health: probeOf(entry, input.ecosystem),
    }))
  })
  return [...tasks, ...services]
}

/** A command is asked over its port `http`, or else its first. */
function askedOf({ command }: EcosystemApp): PlannedProcess['asked'] {
  if (!command || command.health === false) return null
  const names = Object.keys(command.ports)
  const transport = names.includes('http') ? 'http' : (names[0] ?? '')
  return { transport, path: command.health.http }
}

/** What must be ready of an app that others depend on: its critical processes, or all when it names none. */
function readyGroups(input: PlanInput, name: string): (readonly string[])[] {
  const loaded = input.apps.find(({ app }) => app.name === name)
  if (!loaded) return []
  const critical = loaded.system.processes.filter((entry) => entry.critical)
  const needed = critical.length > 0 ? critical : loaded.system.processes
  return needed.map((entry) => instanceIds(name, loaded.system, entry.name))
}

function instanceIds(app: string, system: System, name: string): string[] {
  const instances = system.processes.find((entry) => entry.name === name)?.instances ?? 0
  if (instances === 1) return [`${app}/${name}`]
  return Array.from({ length: instances }, (_, instance) => `${app}/${name}.${instance}`)
}

/** The first instance takes the port that the transport names, further ones any free port. */
function portsOf(entry: ResolvedProcess, instance: number): Record<string, number> {
  const ports: Record<string, number> = {}
  for (const [name, transport] of Object.entries(entry.transports)) {
    if (transport.port !== undefined) ports[name] = instance === 0 ? transport.port : 0
  }
  return ports
}

function addressesOf(entry: ResolvedProcess): Record<string, string> {
  const found = Object.entries(entry.transports).flatMap(([name, { address, port }]) =>
    address === undefined || port === undefined ? [] : [[name, address] as const],
  )
  return Object.fromEntries(found)
}

/** All that has a port can listen elsewhere first; the rest is held back until then. */
function canStandBy(entry: ResolvedProcess): boolean {
  return Object.values(entry.transports).every(
    ({ address, port, standby = false }) => port === undefined || (address !== undefined && standby),
  )
}

function probeOf(entry: ResolvedProcess, ecosystem: Ecosystem): PlannedProcess['health'] {
  if (entry.health === false) return false
  const { interval, timeout, retries, isTimed } = entry.health
  return isTimed ? { interval, timeout, retries } : { ...ecosystem.monitoring.healthCheck, retries }
}

function assertServers(ecosystem: Ecosystem, apps: readonly LoadedApp[]): void {
  for (const server of ['postgres', 'redis'] as const) {
    if (ecosystem.infrastructure[server] !== false) continue
    const needy = apps.find(({ system }) => system.requires[server])
    if (needy) {
      throw new TypeError(
        `infrastructure.${server}: is false, but the app "${needy.app.name}" requires it. Take one of the two away.`,
      )
    }
  }
}

/** The ports of servers that the ecosystem starts, where its file gives them. */
function serverPorts(ecosystem: Ecosystem, apps: readonly LoadedApp[]): Map<number, string> {
  const ports = new Map<number, string>()
  for (const server of ['postgres', 'redis'] as const) {
    const settings = ecosystem.infrastructure[server]
    if (settings === false || settings.url !== null || settings.port === null) continue
    if (!apps.some(({ system }) => system.requires[server])) continue
    const path = `infrastructure.${server}`
    const other = ports.get(settings.port)
    if (other !== undefined) throw clash(path, settings.port, other)
    ports.set(settings.port, path)
  }
  return ports
}

function clash(id: string, port: number, other: string): TypeError {
  return new TypeError(`${id}: port ${port} is that of ${other} already. Give one of them another.`)
}

/** @param owners what has a port already. */
function assertPorts(processes: readonly PlannedProcess[], owners: Map<number, string>): void {
  for (const { id, ports } of processes) {
    for (const port of Object.values(ports)) {
      if (port === 0) continue
      const other = owners.get(port)
      if (other !== undefined) throw clash(id, port, other)
      owners.set(port, id)
    }
  }
}
